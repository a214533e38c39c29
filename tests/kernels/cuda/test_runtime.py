"""What `fastrecur.kernels.cuda.runtime` says where there is no GPU. All tests but one need none of the packages."""

import re
import subprocess
import sys
import types

import pytest

from fastrecur.kernels.cuda import runtime
from fastrecur.layers import LSTM
from fastrecur.network.device import resolve_device


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"cuda": None, "_why_no_package": f"no package for CUDA is installed: {runtime.EXTRA}"}, "no package.*pip"),
        ({"cuda": object(), "_why_no_device": lambda: "no NVIDIA driver was found: x"}, "no NVIDIA driver was found"),
        ({"cuda": object(), "_why_no_device": lambda: "the driver finds no NVIDIA GPU"}, "finds no NVIDIA GPU"),
    ],
    ids=["package", "driver", "device"],
)
def test_cuda_that_is_not_there_is_an_error_that_says_what_is_missing(state, message, monkeypatch):
    monkeypatch.setattr(runtime, "SIMULATED", False)
    for name, value in state.items():
        monkeypatch.setattr(runtime, name, value)
    assert not runtime.available()
    with pytest.raises(RuntimeError, match=f"device='cuda' is not available: .*{message}.*device='cpu'"):
        LSTM(3, 5, device="cuda")
    assert LSTM(3, 5, device="auto").device == "cpu"
    assert runtime.device_name().startswith("none: ")


class _Driver:
    """A package for CUDA whose driver does as it is told, and whose compiler knows no GPU."""

    get_current_device = current_context = staticmethod(lambda: None)

    def __init__(self, gpus=(), error=None):
        self._gpus, self._error = gpus, error

    def jit(self, function):
        raise ValueError("GPU compute capability 7.0 is not supported\n(requires >=7.5)")

    @property
    def gpus(self):
        if self._error:
            raise self._error
        return self._gpus


def test_reasons_in_words(monkeypatch):
    for driver, message in (
        (_Driver(), "the driver finds no NVIDIA GPU"),
        (_Driver(error=RuntimeError("CUDA driver library cannot be found.\nInstall it")), "no NVIDIA driver was found"),
        (_Driver(error=RuntimeError("initialization error")), "the NVIDIA driver gives no device: initialization"),
        (_Driver(["a GPU"]), "the GPU runs no kernel that .* compiles: GPU compute capability 7.0 is not supported"),
    ):
        monkeypatch.setattr(runtime, "cuda", driver)
        assert re.match(message, runtime._why_no_device.__wrapped__())


@pytest.mark.cuda
@pytest.mark.usefixtures("simulator")
def test_the_kernel_of_the_trial_runs():
    runtime._run_nothing()


def test_the_text_of_an_error_ends_without_a_stop_of_its_own():
    assert runtime._in_a_line(OSError("library not found in\n system path.\n:")) == "library not found in system path"
    assert runtime._in_a_line(ValueError(".")) == "ValueError"


def test_a_device_without_room_says_what_would_help(monkeypatch):
    def device_array(shape, dtype):
        raise RuntimeError(
            "[2] Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY" if shape[0] > 1 else "[700] lost"
        )

    monkeypatch.setattr(runtime, "cuda", types.SimpleNamespace(device_array=device_array))
    with pytest.raises(MemoryError, match=r"no room for 4 GiB more\. Lower batch_size"):
        runtime.empty((2**10, 2**20), "float32")
    with pytest.raises(RuntimeError, match="lost"):
        runtime.empty((1,), "float32")


def test_unknown_devices_are_refused():
    with pytest.raises(ValueError, match="device must be one of 'cpu', 'cuda', 'auto', found 'gpu'"):
        resolve_device("gpu")


def test_importing_fastrecur_imports_no_cuda():
    code = "import sys, fastrecur, fastrecur.layers; print([n for n in sys.modules if 'cuda' in n.split('.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "kernels.cuda" not in done.stdout
    assert "numba_cuda" not in done.stdout
