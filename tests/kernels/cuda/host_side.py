"""What the host does for a GPU, with the arrays of numba-cuda or numba-cuda-mlir themselves, on a machine without one.

``main("numba_cuda")`` (or ``"numba_cuda_mlir"``), in a process of its own: memory of the device is memory of the host,
copies are copies, and a launch looks at its arguments: their types must be those for which the kernel compiles
(`Kernel.signature`), and its layout one that the bench lists. Layers, fits and predictions are run; what they compute
is nothing. Prints the kernels launched.
"""

import contextlib
import ctypes
import importlib
import warnings

import numpy as np

#: Where each package has its driver, its memory and what types the arguments of a launch.
INSIDE = {"numba_cuda": "numba.cuda", "numba_cuda_mlir": "numba_cuda_mlir.numba_cuda"}


class Queue:
    """A stream or an event, on which nothing is ever under way."""

    handle = 1

    def synchronize(self):
        pass

    def record(self, stream=0):
        pass


class Context:
    """Memory of the device, and pinned memory, all zero."""

    def __init__(self, driver):
        self._driver = driver

    def memalloc(self, size):
        memory = np.zeros(size, np.uint8)
        return self._driver.MemoryPointer(self, ctypes.c_void_p(memory.ctypes.data), size, owner=memory)

    def memhostalloc(self, size, **options):
        return np.zeros(size, np.uint8)

    def get_default_stream(self):
        return Queue()

    def create_stream(self):
        return Queue()

    def create_event(self, timing=True):
        return Queue()

    def get_memory_info(self):
        return 2**40, 2**40


def pretend(package):
    """Let the package work without a driver; returns the module ``runtime`` that uses it."""
    from fastrecur.kernels.cuda import runtime

    assert package == runtime.PACKAGE
    driver = importlib.import_module(f"{INSIDE[package]}.cudadrv.driver")
    devices = importlib.import_module(f"{INSIDE[package]}.cudadrv.devices")
    context = Context(driver)

    def copy(to, source, size, stream=0):
        def address(place):
            return place.ctypes.data if isinstance(place, np.ndarray) else driver.device_pointer(place)

        ctypes.memmove(address(to), address(source), size)

    driver.host_to_device = driver.device_to_host = driver.device_to_device = copy
    devices._runtime.ensure_context = contextlib.nullcontext
    devices._runtime.get_or_create_context = lambda devnum: context
    runtime._why_no_device = lambda: ""
    runtime.n_multiprocessors = lambda: 132
    return runtime


def check_launches(runtime, package):
    """Replace launches; returns the set into which they write the kernels' names."""
    from bench import cuda_kernels

    typing, launched = importlib.import_module(f"{INSIDE[package]}.typing.typeof"), set()
    listed = {*cuda_kernels.block_kernels(), *cuda_kernels.other_kernels()}
    listed |= {*cuda_kernels.block_kernels("float64"), *cuda_kernels.other_kernels("float64")}

    def launch(kernel, layout, blocks, *arguments, stream=0):
        assert (kernel, layout) in listed, f"{kernel.__name__} is launched by {layout}, which no test compiles"
        found = tuple(typing.typeof(argument, typing.Purpose.argument) for argument in arguments)
        assert found == kernel.signature(layout).args, f"{kernel.__name__} is given {found}"
        limits = (2**31 - 1, 65535, 65535)
        assert all(n <= limit for n, limit in zip(np.atleast_1d(blocks), limits, strict=False)), blocks
        launched.add(f"{kernel.__module__.rsplit('.', 1)[1]}.{kernel.__name__}")

    runtime.Kernel.launch = launch
    return launched


class Foreign:
    """An array of another library."""

    def __init__(self, array):
        self._owner, self.__cuda_array_interface__ = array, array.__cuda_array_interface__


def layers(runtime):
    """Every cell in one block and beyond it, of arrays of the host, the device and others there, whole and ragged."""
    from fastrecur import layers

    rng = np.random.default_rng(0)
    for cell in (layers.RNN, layers.LSTM, layers.GRU):
        for n_hidden, dtype in ((5, "float32"), (100, "float64"), (200, "float32")):
            options = {"num_layers": 2, "device": "cuda", "dtype": dtype}
            both, one = cell(3, n_hidden, bidirectional=True, **options), cell(3, n_hidden, **options)
            for n_rows in (1, 150):
                x = rng.normal(size=(n_rows, 4, 3)).astype(dtype)
                for given in (x, runtime.to_device(x), Foreign(runtime.to_device(x))):
                    for lengths in (None, rng.integers(1, 5, n_rows)):
                        y, state = both.forward(given, lengths=lengths)
                        y, state = both.forward(given, state, lengths=lengths, training=True)
                        both.backward(y, state)
                    _, state = one.step(given[:, 0] if given is x else runtime.to_device(x[:, 0]))
                    one.step(x[:, 0], state)


def estimators():
    """Every kind of target, pooling and solver, and what a fitted estimator does."""
    import fastrecur

    rng = np.random.default_rng(0)
    X = [rng.normal(size=(n, 2)) for n in (6, 2, 4, 1, 3, 5)]
    tokens, y = [rng.integers(0, 5, len(x)) for x in X], np.array([0, 1, 2, 0, 1, 2])
    steps = [x[:, 0] for x in X]
    for name, data, target, options in (
        ("RNNClassifier", X, y, {"num_layers": 2, "solver": "rmsprop"}),
        ("GRUClassifier", X, y, {"pooling": "mean", "dropout": 0.2, "recurrent_dropout": 0.2, "bptt_steps": 2}),
        ("LSTMRegressor", X, y, {"pooling": "max", "bidirectional": True, "solver": "sgd"}),
        ("GRURegressor", X, steps, {"return_sequences": True, "bptt_steps": 2, "hidden_size": 130}),
        ("LSTMClassifier", tokens, tokens, {"embedding_dim": 3, "return_sequences": True, "dtype": "float64"}),
        ("RNNClassifier", tokens, y, {"embedding_dim": 3, "solver": "lbfgs"}),
    ):
        options = {"hidden_size": 4, "batch_size": 3, "max_iter": 2, "device": "cuda", "random_state": 0} | options
        model = getattr(fastrecur, name)(**options).fit(data, target)
        for method in (model.predict, model.transform, model.hidden_states):
            method(data)
        if not options.get("bidirectional"):
            first = [x[:1] for x in data]
            _, state = model.predict_step(np.concatenate(first), model.initial_state(len(first)))
            model.predict_step(np.concatenate(first), state)
    forecaster = fastrecur.GRUForecaster(window=4, quantiles=[0.1, 0.9], hidden_size=3, max_iter=1, device="cuda")
    forecaster.fit(np.arange(20.0)).predict()


def main(package):
    warnings.simplefilter("ignore")  # of fits that are none
    runtime = pretend(package)
    launched = check_launches(runtime, package)
    layers(runtime)
    estimators()
    print(*sorted(launched), sep="\n")
