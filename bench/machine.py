"""What a figure was measured on: processor, instruction set, versions, settings that would change it."""

import importlib.metadata
import os
import platform
from pathlib import Path

import numba

from fastrecur.kernels.cpu.target import INSTRUCTION_SET

#: Environment variables that hold a library to another instruction set, or its threads to another number or policy.
SETTINGS = (
    "ATEN_CPU_CAPABILITY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "MKL_DEBUG_CPU_TYPE", "MKL_ENABLE_INSTRUCTIONS",
    "MKL_NUM_THREADS", "NUMBA_CPU_FEATURES", "NUMBA_CPU_NAME", "NUMBA_NUM_THREADS", "NUMBA_THREADING_LAYER",
    "OMP_NUM_THREADS", "OMP_PROC_BIND", "OMP_WAIT_POLICY", "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE",
    "OPENBLAS_NUM_THREADS",
)  # fmt: skip

PACKAGES = ("fastrecur", "numba", "llvmlite", "numpy", "scipy", "scikit-learn", "torch", "onnxruntime", "skorch")


def describe():
    """Lines of text. The threading layer is known only after a kernel has run."""
    settings = [f"{name}={os.environ[name]}" for name in SETTINGS if name in os.environ]
    return [
        f"{_processor()}, {available_cores()} core(s) for this process, {platform.system()} {platform.machine()}",
        f"instruction set: {INSTRUCTION_SET}{_torch_instruction_set()}; Numba's threading layer: {_threading_layer()}",
        f"Python {platform.python_version()}, " + ", ".join(_versions()),
        "settings: " + (", ".join(settings) if settings else "none in the environment"),
    ]


def load():
    """Processes that wanted to run during the last minute, this one included: 1 is quiet, and so is less."""
    return f"load of the last minute: {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load unknown"


def available_cores():
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    names = {key.strip(): value.strip() for key, value in fields.items()}
    model = names.get("model name") or platform.processor() or "unknown processor"
    if "cpu family" in names:  # a virtual machine may hide the model's number
        model += f" (family {names['cpu family']}, model {names.get('model')})"
    return model


def _torch_instruction_set():
    try:
        import torch
    except ImportError:
        return ""
    return f" (PyTorch: {torch.backends.cpu.get_cpu_capability()})"


def _threading_layer():
    try:
        return numba.threading_layer()
    except ValueError:
        return "not started"


def _versions():
    for package in PACKAGES:
        try:
            yield f"{package} {importlib.metadata.version(package)}"
        except importlib.metadata.PackageNotFoundError:
            if package == "fastrecur":  # run from the checkout
                import fastrecur

                yield f"fastrecur {fastrecur.__version__}"
