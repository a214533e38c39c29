"""scikit-learn's API around the network: labels, weights, validation, early stopping."""
