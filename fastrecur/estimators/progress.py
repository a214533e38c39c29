"""The progress bar of ``verbose=True``."""

import time

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar


class Progress:
    """Context manager: a live bar with epoch, loss, validation score and sequences a second, or nothing.

    Parameters
    ----------
    verbose : bool or int
    n_epochs : int
    n_sequences : int
        A pass over them is an epoch.
    """

    def __init__(self, verbose, n_epochs, n_sequences):
        self._n_epochs, self._n_sequences = n_epochs, n_sequences
        self._bar = None
        if verbose:
            self._bar = Bar(
                TextColumn("epoch"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"),
                TimeRemainingColumn(),
            )  # fmt: skip

    def __enter__(self):
        self._began = time.perf_counter()
        self._done = 0
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("", total=self._n_epochs)
        return self

    def advance(self, epoch):
        """Report a finished `Epoch`."""
        if self._bar is None:
            return
        self._done += 1
        rate = self._done * self._n_sequences / (time.perf_counter() - self._began)
        text = f"loss {epoch.loss:.4g}" + (f", validation {epoch.score:.4f}" if epoch.score is not None else "")
        self._bar.update(self._task, advance=1, description=f"{text}, {rate:,.0f} sequences/s")

    def complete(self):
        """Report that the fit converged: the epochs that it did not need are no longer waited for."""
        if self._bar is not None:
            self._bar.update(self._task, total=self._done)

    def __exit__(self, *_):
        if self._bar is not None:
            self._bar.stop()
