"""Warnings that point at the caller's line, however many calls lie between."""

import sys
import warnings

#: Packages whose lines are not the caller's: a fit may be called by a forecaster, a pipeline or a search.
BETWEEN = ("fastrecur", "sklearn", "joblib")


def warn_caller(text, category):
    """Warn at the last line, on the way to here, of a module outside `BETWEEN`."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in BETWEEN:
        level, frame = level + 1, frame.f_back
    warnings.warn(text, category, stacklevel=level)
