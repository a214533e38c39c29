"""Layers, heads, losses and optimisers over packed batches. Knows the kernels, and nothing of scikit-learn's estimators."""
