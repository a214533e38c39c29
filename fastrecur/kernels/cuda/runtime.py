"""CUDA, in one place: the package that compiles for it, the device, its memory, and how a kernel is built and launched.

Two packages compile Python for CUDA: ``numba-cuda``, which has a simulator, and its successor ``numba-cuda-mlir``,
which has none. The first that is installed is taken. With ``NUMBA_ENABLE_CUDASIM=1`` in the environment ``numba-cuda``
simulates a device on the CPU: slow, for tests.
"""

import contextlib
import functools
import importlib
import importlib.util
import math
import warnings

import numpy as np

EXTRA, EXTRA_12 = 'pip install "fastrecur[cuda]"', 'pip install "fastrecur[cuda12]" where the driver knows CUDA 12 only'


def _import_cuda():
    """The module ``cuda`` of whichever package is installed, and the package's name; or None and why not."""
    why = f"no package for CUDA is installed: {EXTRA}, or {EXTRA_12}"
    for package, module in (("numba_cuda", "numba"), ("numba_cuda_mlir", "numba_cuda_mlir")):
        if importlib.util.find_spec(package) is None:
            continue
        try:
            return importlib.import_module(f"{module}.cuda"), package, ""
        except Exception as error:  # the package meets whatever is wrong with the installation of CUDA
            why = f"{package.replace('_', '-')} is installed but cannot be imported ({_in_a_line(error)})"
    return None, "", why


def _in_a_line(error):
    """Text of an error for the middle of a sentence: in a line, 200 characters at most, no full stop of its own."""
    return " ".join(str(error).split())[:200].rstrip(" .:;,") or type(error).__name__


cuda, PACKAGE, _why_no_package = _import_cuda()

#: Whether the device is the simulator.
SIMULATED = cuda is not None and ".simulator." in f"{cuda.jit.__module__}."


def why_unavailable():
    """What is missing for ``device="cuda"``, in words: package, driver or device. Empty where nothing is.

    Returns
    -------
    reason : str
    """
    if cuda is None:
        return _why_no_package
    if SIMULATED:
        return ""
    return _why_no_device()


@functools.cache
def _why_no_device():
    try:
        if len(cuda.gpus) == 0:
            return "the driver finds no NVIDIA GPU (nvidia-smi lists those that there are)"
        cuda.get_current_device()
        cuda.current_context()
    except Exception as error:  # of many kinds, by package and version
        text = _in_a_line(error)
        if "driver" in text.lower() and ("found" in text.lower() or "load" in text.lower()):
            return f"no NVIDIA driver was found: {text}"
        return f"the NVIDIA driver gives no device: {text}"
    try:
        _run_nothing()
    except Exception as error:  # no compiler, one that does not know the GPU, or a driver too old for what it makes
        package = PACKAGE.replace("_", "-")
        return f"the GPU runs no kernel that {package} compiles: {_in_a_line(error)} ({EXTRA_12})"
    return ""


def _run_nothing():
    """Compile a kernel that does nothing, and run it."""

    @cuda.jit
    def nothing():
        pass

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one thread is not many
        nothing[1, 1]()
    cuda.synchronize()


def available():
    """Whether ``device="cuda"`` works here."""
    return not why_unavailable()


def require():
    """Raise a RuntimeError that says what is missing, unless CUDA is available."""
    reason = why_unavailable()
    if reason:
        raise RuntimeError(f"device='cuda' is not available: {reason}. Take device='cpu', or 'auto'.")


def device_name():
    """Name and compute capability of the device, or why there is none."""
    reason = why_unavailable()
    if reason:
        return f"none: {reason}"
    if SIMULATED:
        return "the simulator of numba-cuda (NUMBA_ENABLE_CUDASIM)"
    device = cuda.get_current_device()
    name = device.name.decode() if isinstance(device.name, bytes) else str(device.name)
    major, minor = device.compute_capability
    return f"{name}, compute capability {major}.{minor}, {n_multiprocessors()} multiprocessors"


@functools.cache
def n_multiprocessors():
    """Multiprocessors of the device. The simulator counts as two, so that small tests meet both sides of a choice."""
    return 2 if SIMULATED else int(cuda.get_current_device().MULTIPROCESSOR_COUNT)


# --- memory ----------------------------------------------------------------------------------------------------------


def free_memory():
    """Bytes of the device's memory that are free; None in the simulator, which has none of its own."""
    if SIMULATED:
        return None
    context = cuda.current_context()
    pending = getattr(context, "deallocations", None)
    if pending is not None:
        pending.clear()  # what nothing refers to any more is given back some arrays at a time
    return int(context.get_memory_info()[0])


def empty(shape, dtype):
    """Device array with undefined contents.

    Raises
    ------
    MemoryError
        If the device has no room for it.
    """
    try:
        return cuda.device_array(shape, dtype)
    except Exception as error:  # of a kind by package and version
        if "OUT_OF_MEMORY" not in str(error):
            raise
        gibibytes = math.prod(shape) * np.dtype(dtype).itemsize / 2**30
        raise MemoryError(
            f"The GPU has no room for {gibibytes:.3g} GiB more. Lower batch_size, hidden_size or num_layers, set "
            "bptt_steps, cut the sequences, or take device='cpu'."
        ) from error


@functools.cache
def no_array(ndim, dtype):
    """Device array that stands for an argument which is not there."""
    return cuda.device_array((1,) * ndim, dtype)


def pinned_empty(shape, dtype):
    """NumPy array of pinned memory with undefined contents: to and from the device it goes without another copy."""
    return cuda.pinned_array(shape, dtype)


def to_device(array, stream=0):
    """Copy of a NumPy array on the device; `empty` says what it raises."""
    array = np.ascontiguousarray(array)
    out = empty(array.shape, array.dtype)
    out.copy_to_device(array, stream=stream)
    return out


def to_host(array, out=None, stream=0):
    """Copy of a contiguous device array as a NumPy array, ``out`` if given; ready when it returns."""
    result = array.copy_to_host(out, stream=stream) if out is not None else array.copy_to_host(stream=stream)
    if stream:
        stream.synchronize()
    return result


def is_device_array(value):
    """Whether ``value`` lies on a GPU: it has ``__cuda_array_interface__``, or says so through DLPack."""
    if isinstance(value, np.ndarray):
        return False
    if hasattr(value, "__cuda_array_interface__") or hasattr(value, "__cuda_ndarray__"):
        return True
    device = getattr(value, "__dlpack_device__", None)
    with contextlib.suppress(Exception):  # of a foreign class: what fails is no array of a GPU
        return device is not None and int(device()[0]) == 2  # kDLCUDA
    return False


def as_device_array(value):
    """Device array over the memory of ``value``, without a copy.

    Parameters
    ----------
    value : object with ``__cuda_array_interface__`` (CuPy, PyTorch, Numba) or ``__dlpack__``
        Made on the default stream, on which all kernels run by default: behind that no one waits for another. Work of
        another stream has to be complete, or the default stream has to wait for it, before the array is given.

    Raises
    ------
    TypeError
        If the package for CUDA cannot take it.
    """
    if hasattr(value, "__cuda_ndarray__"):
        return value
    if hasattr(value, "__cuda_array_interface__"):
        return cuda.as_cuda_array(value)
    try:
        from cuda.core.utils import StridedMemoryView
    except ImportError as error:
        raise TypeError(f"A {type(value).__name__} is taken through DLPack, which needs cuda-core: {EXTRA}.") from error
    view = StridedMemoryView.from_dlpack(value, stream_ptr=-1)  # -1: the exporter need not order streams
    return cuda.as_cuda_array(_OverView(view))


class _OverView:
    """DLPack's memory under the interface that the packages for CUDA read. Holds the view, and with it the memory."""

    def __init__(self, view):
        self._view = view
        itemsize = np.dtype(view.dtype).itemsize
        strides = view.strides and tuple(itemsize * stride for stride in view.strides)
        self.__cuda_array_interface__ = {
            "shape": tuple(view.shape),
            "strides": strides,
            "typestr": np.dtype(view.dtype).str,
            "data": (int(view.ptr), bool(view.readonly)),
            "version": 3,
        }


class Sender:
    """Copies to the device for which the host does not wait: through pinned memory, on the default stream.

    They go behind the kernels that were launched before, and those that follow find them. Several buffers are taken in
    turn; one is written again when the copy from it is over, which its event tells.

    Parameters
    ----------
    n_buffers : int
        Copies under way at a time, at most.
    """

    def __init__(self, n_buffers):
        self._lanes, self._next = [(None, None)] * n_buffers, 0  # buffers and their events

    def send(self, array, out):
        """Copy a NumPy array, in the dtype of ``out``, to that device array of the same shape."""
        n_bytes = array.size * out.dtype.itemsize
        if n_bytes > 4 * PINNED:  # too much to pin: the driver copies it, and waits
            out.copy_to_device(np.ascontiguousarray(array, out.dtype))
            return
        buffer, event = self._lanes[self._next]
        event = event or cuda.event()
        event.synchronize()
        if buffer is None or buffer.size < n_bytes:
            buffer = pinned_empty((max(2 * n_bytes, 4096),), np.uint8)
        self._lanes[self._next] = buffer, event
        self._next = (self._next + 1) % len(self._lanes)
        staged = buffer[:n_bytes].view(out.dtype).reshape(array.shape)
        np.copyto(staged, array, casting="unsafe")
        stream = cuda.default_stream()
        out.copy_to_device(staged, stream=stream)
        event.record(stream)


#: Bytes of each of the two pinned buffers through which `upload` sends.
PINNED = 2**22


def upload(array, dtype):
    """Copy of a large array on the device, in ``dtype``, ready when it returns.

    Its lines go through two buffers of pinned memory, each with a stream of its own: while one is on its way to the
    device, the next lines are converted into the other. A copy from memory that is not pinned would first be copied to
    memory that is, by the driver, and wait for it.

    Parameters
    ----------
    array : array of one axis or two
    dtype : dtype

    Returns
    -------
    on_device : device array of the shape of ``array``
    """
    out = empty(array.shape, dtype)
    a_line = max(1, math.prod(array.shape[1:]))
    n_lines = max(1, PINNED // (a_line * np.dtype(dtype).itemsize))
    size = min(n_lines, len(array)) * a_line
    lanes = [(pinned_empty((size,), dtype), cuda.stream()) for _ in range(2 if len(array) > n_lines else 1)]
    for i, begin in enumerate(range(0, len(array), n_lines)):
        lines = array[begin : begin + n_lines]
        buffer, stream = lanes[i % len(lanes)]
        stream.synchronize()  # what it held is on the device
        staged = buffer[: lines.size].reshape(lines.shape)
        np.copyto(staged, lines, casting="unsafe")
        out[begin : begin + len(lines)].copy_to_device(staged, stream=stream)
    for _, stream in lanes:
        stream.synchronize()
    return out


# --- kernels ---------------------------------------------------------------------------------------------------------


def inline(function):
    """Decorate a piece of a kernel: compiled into whatever calls it. The simulator runs it as it is."""
    if cuda is None or SIMULATED:
        return function
    return cuda.jit(device=True, inline="always")(function)


#: Type of an index within kernels that cannot be negative: 64 bits without a sign, which the simulator needs not. Of
#: one with a sign Numba asks whether it counts from the end: the answer costs instructions, and hides that numbers lie
#: side by side. What is added to one must be of this type too: with another it becomes a double.
unsigned = int if SIMULATED else np.uint64


class Kernel:
    """Decorate a function that builds a kernel for a layout; `launch` compiles what it returns, once for each layout.

    No fast-math flag is set: CUDA's makes tanh an approximation of 2^-11. Multiplications and additions are fused.

    Parameters
    ----------
    arguments : str
        Types of the kernel's arguments, for `ptx`: "r2" is a C-contiguous array of two axes of the layout's dtype,
        "i2" one of int32, "d1" of float64; "i", "u", "r" and "d" are numbers (int64, uint64, the dtype, float64), "b"
        is a flag.
    threads : function
        Of the layout: threads of a block.
    """

    def __init__(self, arguments, threads):
        self.arguments, self.threads = arguments.split(), threads

    def __call__(self, build):
        """Decorate ``build``."""
        functools.update_wrapper(self, build)
        self.build = build
        self._compiled = functools.cache(self._compile)
        self._configured = functools.lru_cache(maxsize=512)(self._configure)
        return self

    def _compile(self, layout):
        if SIMULATED:
            return cuda.jit(self.build(layout))
        return cuda.jit(launch_bounds=(n_threads(self.threads(layout)), 1))(self.build(layout))

    def launch(self, layout, blocks, *args, stream=0):
        """Run the kernel on so many blocks (an int, or up to three)."""
        blocks = blocks if isinstance(blocks, tuple) else (blocks,)
        if 0 in blocks:
            return
        if SIMULATED:
            self._compiled(layout)[blocks, self.threads(layout), stream](*args)
        else:
            self._configured(layout, blocks, stream)(*args)

    def _configure(self, layout, blocks, stream):
        """The kernel ready for a launch. Numba warns of every grid of few blocks, which small batches have."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._compiled(layout)[blocks, self.threads(layout), stream]

    def signature(self, layout):
        """Types of the arguments."""
        types = importlib.import_module(f"{cuda.__name__}.types")
        kinds = {"r": types.float64 if np.dtype(layout.dtype) == np.float64 else types.float32}
        kinds |= {"i": types.int64, "u": types.uint64, "d": types.float64, "b": types.boolean}
        signature = []
        for name in self.arguments:
            if len(name) == 1:
                signature.append(kinds[name])
            else:
                kind = types.int32 if name[0] == "i" else kinds[name[0]]
                signature.append(types.Array(kind, int(name[1:]), "C"))
        return types.void(*signature)

    def ptx(self, layout, capability):
        """PTX of the kernel for a compute capability such as (8, 0). No device is needed."""
        options = {"cc": capability, "launch_bounds": (n_threads(self.threads(layout)), 1)}
        return cuda.compile_ptx(self.build(layout), self.signature(layout), **options)[0].rstrip("\0")


def block_of(threads):
    """Threads of a block of a kernel in which no thread waits for another: fewer in the simulator, where all cost."""
    return min(threads, 16) if SIMULATED else threads


def n_threads(threads):
    """Threads of a block, from an int or its sizes along up to three axes."""
    return int(np.prod(threads))
