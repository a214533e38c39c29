"""Layers, heads, losses and optimisers over packed batches. Knows nothing of scikit-learn's estimators."""
