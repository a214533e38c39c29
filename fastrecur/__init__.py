"""Recurrent networks as scikit-learn estimators, on compiled kernels."""

__version__ = "0.1.0"
