"""L-BFGS over all sequences at once, through scipy: an iteration counts as an epoch."""

import numpy as np
from scipy.optimize import minimize


def minimise(training, tasks, progress, add_epoch):
    """Run the iterations, each recorded by ``add_epoch``; returns the ending, as `Training` knows it."""
    model, estimator, gradient = training.model, training.estimator, training.gradient
    parameters = model.parameters
    decay = estimator.alpha / (_n_targets(training) * training.weight_unit)
    ending, last = "max_iter", {}

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

    def finish(intermediate_result):
        nonlocal ending
        parameters.flat[:] = intermediate_result.x
        model.refresh()
        add_epoch(training, last["loss"], last["norm"], 0.0)
        progress.advance(training.record.epochs[-1])
        stop = tasks.end()
        if training.validation is not None and training.record.waited > estimator.n_iter_no_change:
            ending = "converged"
        elif stop:
            ending = "stopped"
        if ending != "max_iter":
            raise StopIteration

    n_last = len(training.record.epochs) + training.n_epochs
    options = {"maxiter": training.n_epochs, "maxfun": 20 * training.n_epochs + 100, "gtol": estimator.tol}
    start = parameters.flat.astype(np.float64)
    result = minimize(objective, start, jac=True, method="L-BFGS-B", callback=finish, options=options)
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


def _n_targets(training):
    if training.model.pooling is not None:
        return len(training.rows)
    return int(training.sequences.lengths[training.rows].sum())
