"""Kernels on the GPU. `runtime` is the only import of CUDA; nothing here is imported for ``device="cpu"``."""
