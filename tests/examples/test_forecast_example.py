"""The examples of series: what they compute, on small ones; they print and plot."""

import sys

import numpy as np
import pytest

from fastrecur import GRUForecaster
from fastrecur.examples import forecast, stream

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_columns_of_a_file(tmp_path):
    path = tmp_path / "load.csv"
    path.write_text("day,load,heat\n1,2.5,7\n2,3.5,8\n\n3,4.5,x\n")
    np.testing.assert_array_equal(forecast.read_column(path, "load"), [2.5, 3.5, 4.5])
    with pytest.raises(ValueError, match=r"Line 5 of .* has no number in the column 'heat'"):
        forecast.read_column(path)
    with pytest.raises(ValueError, match=r"no column 'cold'\. It has day, load, heat"):
        forecast.read_column(path, "cold")


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (None, [], "FileNotFoundError"),
        ("", [], r"has 0 line\(s\)\. Give a header"),
        ("load\n", [], r"has 1 line\(s\)"),
        ("load\n1\nnan\n", [], r"Line 3 of .* has no number in the column 'load'"),
        ("load\n1\n", ["--column", "heat"], "no column 'heat'. It has load"),
        ("load\n" + 58 * "1\n", ["--window", "2"], "--window 2, --season 12 and 4 forecasts .* need 62"),
        (
            "load\n" + 83 * "1\n",
            [],
            "has 83 steps, but --window 24, --season 12 and 4 forecasts of --horizon 12 need 84",
        ),
    ],
)
def test_bad_files(text, options, message, tmp_path):
    path = tmp_path / "load.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SystemExit, match=message):
        forecast.main(["--csv", str(path), *options])


@pytest.mark.parametrize(
    ("example", "options", "message"),
    [
        (forecast, ["--horizon", "0"], "--horizon: must be at least 1, found 0"),
        (forecast, ["--window", "0"], "--window: must be at least 1, found 0"),
        (forecast, ["--column", "load"], "--column: needs --csv"),
        (forecast, ["--splits", "many"], "--splits: must be a whole number, found 'many'"),
        (stream, ["--past", "100"], "--past: must be at least 192, found 100"),
        (stream, ["--faults", "-1"], "--faults: must be at least 0"),
        (stream, ["--steps", "100", "--faults", "10"], "--steps: must be at least 104 for 10 faults, found 100"),
    ],
)
def test_bad_options(example, options, message, capsys):
    with pytest.raises(SystemExit):
        example.main(options)
    assert message in capsys.readouterr().err


def test_the_table_of_a_forecast():
    series = np.sin(np.arange(60) * np.pi / 3) + 0.1 * np.arange(60)
    forecaster = GRUForecaster(6, 3, quantiles=[0.1, 0.5, 0.9], hidden_size=4, max_iter=2, n_threads=1)
    rows, results = forecast.compare(series, forecaster, 6, 3, 2)
    assert [row[0] for row in rows] == ["seasonal naive", "GRUForecaster"]
    assert all(len(row) == 6 for row in rows)
    np.testing.assert_allclose(results["seasonal naive"].mae, [0.6, 0.6])


def test_forecast_runs(tmp_path, monkeypatch, capsys):
    path = tmp_path / "load.csv"
    path.write_text("load\n" + "\n".join(str(3 + np.sin(t)) for t in range(70)))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    options = ["--csv", path, "--season", 6, "--horizon", 3, "--splits", 2, "--cell", "gru"]
    forecast.main([*map(str, options), "--plot", str(tmp_path / "plot.png")])
    printed = capsys.readouterr().out
    for text in ("load.csv: 70 steps", "seasonal naive", "GRUForecaster", 'pip install "fastrecur[plot]"'):
        assert text in printed
    assert not (tmp_path / "plot.png").exists()


def test_the_plot():
    Figure = pytest.importorskip("matplotlib.figure").Figure
    series = np.arange(60.0)
    forecaster = GRUForecaster(6, 3, quantiles=[0.1, 0.5, 0.9], hidden_size=4, max_iter=2, n_threads=1)
    _, results = forecast.compare(series, forecaster, 6, 3, 2)
    future = forecaster.fit(series).predict_quantiles()
    figure = Figure()
    forecast._draw(figure, series, results, future)
    [axes] = figure.axes
    assert axes.get_legend_handles_labels()[1] == [
        "series",
        "seasonal naive",
        "GRUForecaster",
        "the next 3, 80% interval",
    ]
    np.testing.assert_array_equal(axes.lines[-1].get_ydata(), future[:, 0, 1])


def test_faults_are_where_they_are_said_to_be():
    feed = stream.make_feed(400, np.random.default_rng(0))
    faulty_feed, faulty = stream.put_faults(feed, 10, np.random.default_rng(1))
    assert faulty.sum() == 10
    assert not faulty[: stream.DAY].any()
    np.testing.assert_array_equal(faulty_feed != feed, faulty)
    assert (np.diff(np.flatnonzero(faulty)) >= 8).all()


def test_watching_forecasts_as_predict_does():
    """Without an alarm the forecasts of a stream are those of `predict` on the whole."""
    feed = stream.make_feed(700, np.random.default_rng(0))
    model, mean, deviation, _ = stream.train(feed[:500])
    alarms, forecasts = stream.watch(feed[500:], model, mean, deviation, np.inf)
    assert not alarms.any()
    whole = model.predict(((feed[500:] - mean) / deviation)[np.newaxis, :, np.newaxis])[0] * deviation + mean
    np.testing.assert_allclose(forecasts[1:], whole.ravel()[:-1], rtol=1e-12)


def test_outcomes():
    faulty = np.zeros(30, bool)
    faulty[[25, 28]] = True
    alarms = np.zeros(30, bool)
    alarms[[3, 25, 26]] = True
    found = stream.outcome(np.ones(30), faulty, alarms, np.zeros(30), 6e-6)
    assert (found.found, found.false, found.error) == (1, 1, 1.0)
    np.testing.assert_allclose(found.microseconds, 1.0)


def test_stream_runs(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    stream.main(["--steps", "200", "--past", "400", "--faults", "5", "--plot", str(tmp_path / "stream.png")])
    assert (tmp_path / "stream.png").stat().st_size > 10_000
    printed = capsys.readouterr().out
    for text in ("400 of the past", "of 5", "predict_step", "false"):
        assert text in printed
