"""scikit-learn's callbacks around a fit: the fit is a task, each epoch one below it."""


class Tasks:
    """Context manager that tells the callbacks of an estimator, if it has any, of a fit and its epochs.

    Parameters
    ----------
    estimator : RecurrentEstimator
    training : Training
    X, y : object
        As they were given.
    metadata : dict or None
    silent : bool
        `partial_fit`: nothing is told.
    """

    def __init__(self, estimator, training, X, y, metadata, silent):
        self._estimator, self._training = estimator, training
        self._given = {"X": X, "y": y, "metadata": metadata}
        self._root = self._epoch = None
        if not silent:
            self._root = estimator._init_callback_context(max_subtasks=training.n_epochs_left)
        self._heard = bool(getattr(estimator, "_skl_callbacks", ()))  # without, no one is told of the epochs

    def _tell(self, context, event):
        attributes = self._training.attributes_so_far
        call = getattr(context, f"call_on_fit_task_{event}")
        return call(estimator=self._estimator, reconstruction_attributes=attributes, **self._given)

    def __enter__(self):
        if self._root is not None:
            self._tell(self._root, "begin")
        return self

    def begin(self):
        """An epoch begins, unless one is under way."""
        if self._root is not None and self._heard and self._epoch is None:
            self._epoch = self._root.subcontext(task_name="epoch")
            self._tell(self._epoch, "begin")

    def end(self):
        """An epoch ended; returns whether a callback asks to stop."""
        if self._epoch is None:
            return False
        epoch, self._epoch = self._epoch, None
        return bool(self._tell(epoch, "end"))

    def __exit__(self, kind, *_):
        if self._root is not None and kind is None:
            if self._epoch is not None:  # begun, but not finished
                self._epoch.call_on_fit_task_end(estimator=self._estimator)
            self._tell(self._root, "end")
