"""L-BFGS over all sequences at once, through scipy: an iteration counts as an epoch."""

import numpy as np
from scipy.optimize import minimize


def minimise(training, tasks, progress, add_epoch):
    """Run the iterations, each recorded by ``add_epoch``; returns the ending, as `Training` knows it.

    A fit that goes on after some of them first runs these again, because scipy gives no state to keep: from where they
    began, to exactly the weights it had. Where it comes to others, as with other data, it begins anew from its own.
    """
    n_epochs = len(training.record.epochs)
    if n_epochs > training.start["epoch"]:
        ending = _again(training, tasks, progress, add_epoch, n_epochs)
        if ending != "elsewhere":
            return ending
        training.start = {"weights": training.record.weights, "epoch": n_epochs}
    return _iterate(training, tasks, progress, add_epoch, 0)


def _again(training, tasks, progress, add_epoch, n_epochs):
    """`_iterate` with those on record; "elsewhere" too where one of these diverges."""
    try:
        return _iterate(training, tasks, progress, add_epoch, n_epochs - training.start["epoch"])
    except FloatingPointError:
        if len(training.record.epochs) > n_epochs:
            raise
        return "elsewhere"


def _iterate(training, tasks, progress, add_epoch, n_known):
    """Iterations from ``training.start``, of which the first ``n_known`` are on record."""
    parameters, start = training.model.parameters, training.start["weights"].astype(np.float64)
    last: dict[str, float] = {}
    ending, n_done, n_last = "max_iter", 0, len(training.record.epochs) + training.n_epochs_left
    objective = _objective(training, tasks, last)

    def finish(intermediate_result):
        nonlocal ending, n_done
        parameters.flat[:] = intermediate_result.x
        n_done += 1
        if n_done == n_known and not np.array_equal(parameters.flat, training.record.weights):
            ending = "elsewhere"
        elif n_done > n_known:
            ending = _finish(training, tasks, progress, add_epoch, last)
        if ending != "max_iter":
            raise StopIteration

    n_all = n_known + training.n_epochs_left
    options = {"maxiter": n_all, "maxfun": 20 * n_all + 100, "gtol": training.estimator.tol}
    result = minimize(objective, start, jac=True, method="L-BFGS-B", callback=finish, options=options)
    if n_done < n_known:
        return "elsewhere"
    if not training.record.epochs:  # the start is a minimum already
        objective(start)
        add_epoch(training, last["loss"], last["norm"], 0.0)
        tasks.end()
    if ending == "max_iter" and result.success:
        progress.complete()
        ending = "converged"
    elif ending == "max_iter" and len(training.record.epochs) < n_last:
        ending = f"lbfgs, {result.message}"
    return ending


def _objective(training, tasks, last):
    """The penalised loss of a vector of parameters and its slope; ``last`` holds the loss and the norm of its slope."""
    model, gradient = training.model, training.gradient
    parameters = model.parameters
    decay = training.estimator.alpha / (_n_targets(training) * training.weight_unit)

    def objective(vector):
        tasks.begin()
        parameters.flat[:] = vector
        model.refresh()
        loss = gradient.full(training.sequences, training.rows)
        slope = gradient.grads.flat.astype(np.float64)
        if not (np.isfinite(loss) and np.isfinite(slope).all()):
            raise FloatingPointError
        last["loss"], last["norm"] = loss, float(np.linalg.norm(slope))
        penalised = np.zeros_like(vector)
        penalised[: parameters.n_weights] = vector[: parameters.n_weights]
        penalised[parameters.n_dense :] = vector[parameters.n_dense :]
        return loss + 0.5 * decay * penalised @ penalised, slope + decay * penalised

    return objective


def _finish(training, tasks, progress, add_epoch, last):
    """Record an iteration; returns the ending, "max_iter" where it goes on."""
    training.model.refresh()
    add_epoch(training, last["loss"], last["norm"], 0.0)
    progress.advance(training.record.epochs[-1])
    stop = tasks.end()
    if training.has_converged():
        return "converged"
    return "stopped" if stop else "max_iter"


def _n_targets(training):
    if training.model.pooling is not None:
        return len(training.rows)
    return int(training.sequences.lengths[training.rows].sum())
