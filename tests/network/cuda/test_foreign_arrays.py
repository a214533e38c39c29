"""Arrays of other libraries that lie on the GPU, as the layers take them: without a copy.

The simulator has no memory of a device and no `as_cuda_array`; one that reads the same interface stands in for it here.
What DLPack's capsule says goes through cuda-core as it does on a GPU.
"""

import numpy as np
import pytest

from fastrecur.kernels.cuda import runtime
from fastrecur.layers import GRU

pytest.importorskip("cuda.core")
pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("simulator")]


class OverDLPack:
    """An array that says through DLPack that it lies on a GPU."""

    def __init__(self, array):
        self.array = array

    def __dlpack_device__(self):
        return 2, 0

    def __dlpack__(self, *, stream, **options):
        assert stream == -1  # no one need wait
        return self.array.__dlpack__()


class OverInterface:
    """An array with the interface that CuPy and PyTorch have."""

    def __init__(self, array):
        interface = array.__array_interface__
        self.__cuda_array_interface__ = {key: interface[key] for key in ("shape", "strides", "typestr", "data")}
        self.__cuda_array_interface__["version"] = 3
        self.array = array


each_protocol = pytest.mark.parametrize("wrap", [OverDLPack, OverInterface])


@pytest.fixture(autouse=True)
def as_cuda_array(monkeypatch):
    """Device array over the memory that an interface names, which keeps its owner alive."""

    class Host:
        def __init__(self, owner):
            self.owner, self.__array_interface__ = owner, owner.__cuda_array_interface__

    def view(owner):
        device = runtime.empty((0,), "float32")
        device._ary = np.asarray(Host(owner))
        return device

    monkeypatch.setattr(runtime.cuda, "as_cuda_array", view, raising=False)


@each_protocol
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_is_the_same_memory(wrap, dtype):
    array = np.arange(12, dtype=dtype).reshape(2, 3, 2)
    assert runtime.is_device_array(wrap(array))
    view = runtime.as_device_array(wrap(array))
    assert (view.shape, view.dtype, view.flags["C_CONTIGUOUS"]) == ((2, 3, 2), array.dtype, True)
    array[1, 2, 0] = 77.0
    np.testing.assert_array_equal(runtime.to_host(view), array)
    strided = runtime.as_device_array(wrap(array[:, ::2]))
    assert strided.strides == array[:, ::2].strides
    np.testing.assert_array_equal(strided._ary, array[:, ::2])


@each_protocol
def test_layers_take_it_and_answer_on_the_device(wrap):
    rng = np.random.default_rng(0)
    x, dy, h = (rng.normal(size=shape).astype(np.float32) for shape in ((2, 3, 4), (2, 3, 5), (1, 2, 5)))
    host, device = (GRU(4, 5, device=name, random_state=0) for name in ("cpu", "cuda"))
    expected, _ = host.forward(x, h, training=True)
    y, final = device.forward(wrap(x), wrap(h), training=True)
    assert runtime.is_device_array(y)
    np.testing.assert_allclose(runtime.to_host(y), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(runtime.to_host(final)[0], expected[:, -1], rtol=0, atol=1e-6)
    dx, _ = device.backward(wrap(dy))
    np.testing.assert_allclose(runtime.to_host(dx), host.backward(dy)[0], rtol=0, atol=1e-5)
    y_t, _ = device.step(wrap(np.ascontiguousarray(x[:, 0])), wrap(h))
    np.testing.assert_allclose(runtime.to_host(y_t), expected[:, 0], rtol=0, atol=1e-6)


@each_protocol
def test_what_cannot_be_taken_without_a_copy_is_refused(wrap):
    layer, x = GRU(4, 5, device="cuda"), np.zeros((2, 6, 4), np.float32)
    with pytest.raises(ValueError, match=r"x on the device must be C-contiguous .* Copy it first"):
        layer.forward(wrap(x[:, ::2]))
    with pytest.raises(ValueError, match="x on the device must be of the layer's dtype float32, found float64"):
        layer.forward(wrap(x.astype(np.float64)))


def test_memory_of_the_host_is_no_device_array():
    class OnHost:
        def __dlpack_device__(self):
            return 1, 0

    assert not runtime.is_device_array(OnHost())
    assert not runtime.is_device_array(np.zeros(3))
    assert not runtime.is_device_array([1.0])
