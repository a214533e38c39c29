"""Networks to and from other libraries: PyTorch, Keras, ONNX, skl2onnx.

Where skl2onnx is installed, the import of this package registers the converters with it.
"""

from contextlib import suppress

from fastrecur.interop.keras_weights import from_keras, to_keras
from fastrecur.interop.onnx_model import to_onnx
from fastrecur.interop.pytorch import from_torch, to_torch
from fastrecur.interop.skl2onnx_converter import register_skl2onnx

with suppress(ImportError):  # an optional package; who calls register_skl2onnx() is told what is missing
    register_skl2onnx()

__all__ = ["from_keras", "from_torch", "register_skl2onnx", "to_keras", "to_onnx", "to_torch"]
