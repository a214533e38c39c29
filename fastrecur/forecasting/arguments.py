"""Checks of what callers hand to a forecaster."""

from numbers import Integral

from fastrecur.series import check_columns, names_of, read_panel


def check_length(n_steps, name, window, span):
    """A series must hold a window and ``span`` steps behind it."""
    if n_steps < window + span:
        needed = f"window={window}" + (f" and {span} step(s) to predict" if span else "")
        raise ValueError(
            f"{name} has {n_steps} time step(s), but {needed} need {window + span}. Pass a longer series, or fit with "
            "a smaller window or horizon."
        )


def read_known(exog, panel, is_panel, series_names, name):
    """Known inputs beside the rows of series, as they came."""
    known, known_is_panel = read_panel(exog, name)
    if (len(known), known_is_panel) != (len(panel), is_panel):
        raise ValueError(pairing(name, known, known_is_panel, len(panel), is_panel))
    for rows, one, row_name, one_name in zip(known, panel, names_of(name, known, is_panel), series_names, strict=True):
        if len(rows.values) != len(one.values):
            raise ValueError(
                f"{row_name} has {len(rows.values)} row(s), but {one_name} has {len(one.values)}. Pass one row of "
                "known inputs for each time step."
            )
        indices = [given.frame.index for given in (rows, one) if given.frame is not None]
        indices = [index for index in indices if index is not None]
        if len(indices) == 2 and not indices[0].equals(indices[1]):
            raise ValueError(f"{row_name} and {one_name} have different indices. Give both the same times.")
    return known


def pairing(name, known, known_is_panel, n_series, is_panel):
    """What to say where known inputs do not come as the series do."""
    found = f"a list of {len(known)}" if known_is_panel else "one"
    wanted = f"a list of {n_series}" if is_panel else "one"
    return f"{name} must be {wanted}, as the series is, found {found}. Pass known inputs for each series."


def check_index_ahead(rows, index, name, what):
    """Where rows and the series have an index, that of the rows must be the series' going on."""
    found = None if rows.frame is None else rows.frame.index
    if found is None or index is None:
        return
    wanted = index.after(len(rows.values))
    if not found.equals(wanted):
        raise ValueError(
            f"The index of {name} runs from {found[0]} to {found[-1]}, but the steps to come are {wanted[0]} to "
            f"{wanted[-1]}. Pass {what} of these."
        )


def check_exog(known, n_exog, columns, name):
    """Known inputs must be as many as in fit, with the same names."""
    n = known[0].values.shape[1]
    if n != n_exog:
        raise ValueError(f"{name} has {n} column(s), but in fit exog had {n_exog}. Pass the same.")
    check_columns(known[0], columns, name)


def check_features(panel, n_features, columns, name):
    """The features of a series must be as many as in fit, with the same names."""
    n = panel[0].values.shape[1]
    if n != n_features:
        raise ValueError(f"series has {n} feature(s), but fit saw {n_features}. Pass the same.")
    check_columns(panel[0], columns, name)


def checked_horizon(horizon, otherwise, most):
    """Steps to forecast: ``otherwise`` for None, no more than ``most`` where that is not None."""
    if horizon is None:
        return otherwise
    if isinstance(horizon, bool) or not isinstance(horizon, Integral):
        found = f"of type {type(horizon).__name__}" if hasattr(horizon, "__len__") else repr(horizon)
        raise TypeError(
            f"horizon must be an int of at least 1, found {found}. Known inputs and the series to continue go by name: "
            "exog=..., series=..."
        )
    if horizon < 1:
        raise ValueError(f"horizon must be at least 1, found {horizon}.")
    if most is not None and horizon > most:
        raise ValueError(
            f"horizon={horizon} is beyond the {most} step(s) that strategy='direct' was fitted for. Fit with "
            f"horizon={horizon}, or with strategy='recursive'."
        )
    return int(horizon)
