"""Networks of quantiles have no head for other libraries: said before any work."""

import numpy as np
import pytest

from fastrecur import GRUForecaster
from fastrecur.interop import to_onnx, to_torch

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def network(quantiles):
    series = np.sin(np.arange(60.0))
    forecaster = GRUForecaster(6, 3, quantiles=quantiles, hidden_size=4, max_iter=2, random_state=0, n_threads=1)
    return forecaster.fit(series).network_


def test_the_head_of_quantiles():
    with pytest.raises(ValueError, match=r"The head gives 3 quantiles of each of 3 target\(s\), which predict sorts"):
        to_torch(network([0.1, 0.9]), "head")
    assert to_torch(network([0.1, 0.9]), "recurrent")
    assert to_torch(network(None), "head")["weight"].shape == (3, 4)


def test_onnx_of_quantiles():
    pytest.importorskip("onnx")
    with pytest.raises(ValueError, match="The head gives 3 quantiles"):
        to_onnx(network([0.1, 0.9]))
