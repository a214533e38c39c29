"""Names of columns: those of fit, in its order."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from fastrecur.preprocessing import SlidingWindow

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ORDER = r"must be in the same order as those of fit: found \['v', 'u'\], expected \['u', 'v'\]"


@pytest.fixture(params=[pd.DataFrame, pl.DataFrame])
def frame(request, waves):
    """Return two features with names, u and v."""
    return request.param({"u": waves[:, 0], "v": waves[:, 1]})


def test_series_in_another_order(frame, quick):
    forecaster = quick().fit(frame)
    assert forecaster.feature_names_in_.tolist() == ["u", "v"]
    forecaster.predict(series=frame)
    with pytest.raises(ValueError, match="feature names of series " + ORDER):
        forecaster.predict(series=frame[["v", "u"]])
    with pytest.raises(ValueError, match=r"names of series\[1\] must be in the same order as those of series\[0\]"):
        quick().fit([frame, frame[["v", "u"]]])
    panel = quick().fit([frame, frame])
    with pytest.raises(ValueError, match=r"feature names of series\[0\] " + ORDER):
        panel.predict(series=[frame[["v", "u"]]] * 2)


def test_known_inputs_in_another_order(frame, waves, quick):
    forecaster = quick().fit(waves, frame)
    assert forecaster.exog_names_in_.tolist() == ["u", "v"]
    forecaster.predict(exog=frame[:3])
    with pytest.raises(ValueError, match="feature names of exog " + ORDER):
        forecaster.predict(exog=frame[["v", "u"]][:3])
    with pytest.raises(ValueError, match="feature names of past_exog " + ORDER):
        forecaster.predict(exog=frame[:3], series=waves, past_exog=frame[["v", "u"]])


def test_other_names(waves, quick):
    frame = pd.DataFrame(waves, columns=["u", "v"])
    forecaster = quick().fit(frame)
    with pytest.raises(ValueError, match=r"should match those of fit: found \['u', 'w'\], expected \['u', 'v'\]"):
        forecaster.predict(series=frame.rename(columns={"v": "w"}))
    numbered = quick().fit(pd.DataFrame(waves))
    with pytest.raises(ValueError, match=r"same order as those of fit: found \[1, 0\], expected \[0, 1\]"):
        numbered.predict(series=pd.DataFrame(waves)[[1, 0]])


def test_arrays_and_vectors_have_no_names(waves, quick):
    frame = pd.DataFrame(waves, columns=["u", "v"])
    forecaster = quick().fit(frame)
    np.testing.assert_array_equal(forecaster.predict(series=waves), forecaster.predict(series=frame).to_numpy())
    assert not hasattr(forecaster.fit(waves), "feature_names_in_")
    assert not hasattr(forecaster, "exog_names_in_")
    forecaster.predict(series=frame)
    quick().fit([frame["u"], frame["v"]]).predict(series=[frame["v"], frame["u"]])


def test_sliding_windows(frame):
    windows = SlidingWindow(6, 3).fit(frame)
    assert windows.feature_names_in_.tolist() == ["u", "v"]
    for method in (windows.transform, windows.last_window, windows.series_of_windows):
        method(frame)
        with pytest.raises(ValueError, match="feature names of series " + ORDER):
            method(frame[["v", "u"]])
    assert not hasattr(windows.fit(frame.to_numpy()), "feature_names_in_")


@pytest.mark.parametrize("where", ["series", "exog"])
def test_masked_values(where, waves, quick):
    masked = np.ma.masked_greater(waves, waves.max() - 0.1)
    arguments = {"series": waves, "exog": waves} | {where: masked}
    with pytest.raises(ValueError, match=rf"{where} has \d+ masked value\(s\)"):
        quick().fit(**arguments)
