"""`save`, a method of the estimators and of the forecasters."""


class Saved:
    """What can be written into a file."""

    def save(self, path):
        """Write the fitted model into a file, for `fastrecur.load`.

        The file is of safetensors' format and holds no pickle: the ``weights_`` of the network as tensors under
        PyTorch's names, all else as JSON in the metadata and as further tensors. What was in the place of ``path``
        stays whole until the new file is: a save that fails or is killed changes nothing (killed, it may leave
        ``.fastrecur-*.tmp`` beside it).

        Left out are scikit-learn's callbacks and the state of an unfinished fit: a loaded model predicts the same
        bits, and trains on as in a new fit. Pickles hold that state.

        Parameters
        ----------
        path : str or path-like
            Name of the file, by custom with the ending ``.safetensors``.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        TypeError, ValueError
            If a parameter is invalid, the weights are not finite, an attribute was added that is no plain value or
            array, the class is derived from one of fastrecur's, or the time index of a forecaster's series has no name
            of pandas' for its steps or its zone.
        OSError
            If the file cannot be written.

        Examples
        --------
        >>> import tempfile
        >>> import numpy as np
        >>> import fastrecur
        >>> X = np.random.default_rng(0).normal(size=(40, 5, 2))
        >>> model = fastrecur.RNNClassifier(8, early_stopping=True, random_state=0).fit(X, X[:, 4, 0] > 0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(f"{folder}/model.safetensors")
        ...     loaded = fastrecur.load(f"{folder}/model.safetensors")
        >>> loaded.classes_
        array([False,  True])
        """
        from fastrecur import persistence  # which imports the classes

        persistence.save(self, path)
