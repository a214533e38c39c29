"""No race in any kernel of the package: each is launched with its memory watched (see `tests.kernels.cuda.races`)."""

import numpy as np
import pytest

from fastrecur.kernels.cuda import elman, gru, layout, lstm, runtime
from fastrecur.kernels.cuda.runtime import cuda
from tests.kernels.cuda.races import Race, watch
from tests.kernels.cuda.test_cells import make, run
from tests.kernels.cuda.test_compiled import kernels_of_the_package
from tests.network.cuda.test_fit import fitted

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.usefixtures("simulator"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


def sums(kind):
    """A kernel of four threads a block, which add up each other's numbers."""

    @runtime.Kernel("d1", lambda layout: 4)
    def add(layout):
        def add(out):
            values = cuda.shared.array(4, np.float64)
            i = cuda.threadIdx.x
            values[i] = 1.0
            if kind != "no barrier":
                cuda.syncthreads()
            total = values[i] + values[(i + 1) % 4]
            if kind == "one barrier":
                values[i] = total
            cuda.syncthreads()
            if kind == "one number of all blocks":
                out[0] = total
            elif kind == "beyond the end":
                out[i + 1] = total
            elif i == 0:
                out[cuda.blockIdx.x] = total

        return add

    return add


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("no barrier", "written"),
        ("one barrier", "read and written|written and read"),
        ("one number of all blocks", "written twice"),
        ("beyond the end", r"\(4,\)"),
    ],
)
def test_what_is_wrong_is_found(kind, message, monkeypatch):
    watch(monkeypatch)
    out = runtime.to_device(np.zeros(4))
    with pytest.raises(AssertionError, match=message) as error:
        sums(kind).launch(layout.Layout(0, 0, "float64"), 2, out)
    assert isinstance(error.value, Race) == (kind != "beyond the end")
    out = runtime.to_device(np.zeros(4))
    sums("right").launch(layout.Layout(0, 0, "float64"), 2, out)
    np.testing.assert_array_equal(runtime.to_host(out), [2.0, 2.0, 0.0, 0.0])


@pytest.mark.parametrize(("n_hidden", "dtype", "lengths"), [(96, "float32", (2, 1)), (48, "float64", (2, 1, 1))])
@pytest.mark.parametrize("cell", ["rnn_tanh", "lstm", "gru"])
def test_weights_beyond_the_registers(cell, n_hidden, dtype, lengths, monkeypatch):
    """A block for each sequence, and one for three."""
    watch(monkeypatch)
    run(make(cell, lengths, 1, n_hidden), dtype)


def test_every_kernel_of_the_package(monkeypatch):
    """The recurrences of a launch and of a launch a step, of more blocks than one, and the rest within whole fits."""
    launched = watch(monkeypatch)
    for name in ("two classes, equal lengths, clipped", "mean, stacked, dropout", "max, both directions", "tokens"):
        fitted(name, "cuda", max_iter=1)
    fitted("quantiles", "cuda", max_iter=1)
    for stepwise in (False, True):
        for module in (elman, gru, lstm):
            monkeypatch.setattr(module, "in_one_block", lambda n_hidden, chosen=not stepwise: chosen)
        for cell in ("rnn_tanh", "lstm", "gru"):
            for reverse in (False, True):
                run(make(cell, (3, 2, 2, 1, 1), 2, 7, reverse, masked=reverse), "float64")
    assert set(launched) == kernels_of_the_package()
