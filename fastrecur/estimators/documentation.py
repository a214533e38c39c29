"""The docstring that the six estimators share, so that a parameter is explained once."""

_TEMPLATE = """{summary}

    {equations}

    Parameters
    ----------
    hidden_size : int, default=64
        H, hidden units of each layer and direction.
    num_layers : int, default=1
        Layers one above the other.
    bidirectional : bool, default=False
        Add to each layer a second direction that reads the sequences from their ends.
    pooling : {{"last", "mean", "max"}}, default="last"
        What the head reads of the last layer's states: the one after the last valid step (of a bidirectional network,
        beside it the backward state at the first step), their mean, or the largest of each unit.
    return_sequences : bool, default=False
        One target a time step: y is (n, T) or a list of (T_i,) arrays, for regression (n, T, K) or (T_i, K) too, and
        predictions come in the layout of X. `score` counts all time steps; metrics of scikit-learn want them in a row,
        ``f1_score(np.concatenate(y), np.concatenate(model.predict(X)))``, and a scorer made of that.
    embedding_dim : int or None, default=None
        X holds integer tokens from 0 on, and each has a trained vector of this size. The vocabulary is what `fit`
        sees: its largest token and all below it.
    dropout : float, default=0.0
        Share of the outputs of each layer, the head's inputs included, that is dropped in training.
    recurrent_dropout : float, default=0.0
        Share of h_{{t-1}} that is dropped in training where it enters W_hh, the same units at all steps of a sequence
        (Gal and Ghahramani, NIPS 2016).
    init : {{"default", "irnn", "chrono", "pytorch"}}, default="default"
        Initial weights. "default": Glorot's for inputs, orthogonal for each gate of W_hh. "irnn": W_hh the identity
        and small input weights (Le, Jaitly and Hinton, 2015; with ``nonlinearity="relu"``). "chrono": biases for
        memories as long as the sequences (Tallec and Ollivier, ICLR 2018). "pytorch": uniform within 1 / sqrt(H).
    solver : {{"adam", "adamw", "sgd", "rmsprop", "lbfgs"}}, default="adam"
        "sgd" has Nesterov's momentum; "adamw" shrinks the weights beside the gradient; "lbfgs" takes all sequences at
        once, an iteration counts as an epoch, and it knows neither batches nor clipping. Of a table of embeddings each
        step moves the rows in use alone, as PyTorch's SparseAdam.
    learning_rate_init : float, default=0.005
        Step size of the solver, at first. "lbfgs" has no use for it, nor for ``learning_rate``, ``momentum``,
        ``batch_size`` and ``shuffle``.
    learning_rate : {{"constant", "adaptive", "cosine"}}, default="constant"
        "adaptive": a fifth whenever there was no progress for ``n_iter_no_change`` epochs, until it is below 1e-6.
        "cosine": down to 0 along half a cosine over ``max_iter`` epochs.
    momentum : float, default=0.9
        Momentum of "sgd", from 0 to below 1.
    alpha : float, default=1e-4
        L2 penalty of the weights (not of the biases), divided by the number of the batch's targets times the mean
        weight of all targets. For "adamw" the share by which a step of size 1 shrinks them.
    batch_size : int or "auto", default="auto"
        Sequences a minibatch; "auto" is a sixteenth of the sequences, but at least 8 (or all, where there are fewer)
        and at most 32.
    max_iter : int, default=200
        Largest number of epochs.
    tol : float, default=1e-4
        The fit ends when the loss (with early stopping: the validation score) has not improved by more than ``tol``
        in ``n_iter_no_change`` epochs on end. For "lbfgs" the largest entry of the gradient at which it ends.
    n_iter_no_change : int, default=10
        See ``tol``.
    early_stopping : bool, default=False
        Keep ``validation_fraction`` of the sequences out of training, watch the score on them, and end with the
        weights that scored best.
    validation_fraction : float, default=0.1
        Share of the sequences, between 0 and 1; of a classifier, a share of each class.
    max_grad_norm : float or None, default=1.0
        The gradient's global L2 norm is clipped to it [2]_. None: no clipping.
    bptt_steps : int or None, default=None
        Truncated backpropagation: no gradient flows back further than so many time steps, and no more of them are in
        memory; the states are carried on. With ``return_sequences`` each piece of so many steps is a step of the
        solver.
    shuffle : bool, default=True
        Draw the minibatches anew in each epoch.
    random_state : int, RandomState or None, default=None
        For the initial weights, the shuffling and the validation split.
    warm_start : bool, default=False
        Begin `fit` from the weights of the last one; one that was stopped goes on as if it had not been: see `fit`.
    verbose : bool, default=False
        Show a progress bar with loss, validation score and sequences a second.
    n_threads : int or None, default=None
        None: all cores, but 1 inside a joblib worker. Results do not depend on it, bit for bit. Where several
        processes run side by side, set 1, or ``OMP_WAIT_POLICY=passive`` in the environment.
    device : {{"cpu", "cuda", "auto"}}, default="cpu"
        Where the network trains and predicts. "cuda" is an NVIDIA GPU (``pip install
        "fastrecur[cuda]"``; a RuntimeError says what is missing), "auto" the GPU where there is one. What was fitted on
        one predicts on the other, and a stopped fit goes on there, after ``set_params(device=...)``.
    dtype : {{"float32", "float64"}}, default="float32"
        What the network computes in.{extra_parameters}

    Attributes
    ----------
    weights_ : dict of str to array
        PyTorch's names and layouts: ``weight_ih_l0`` (G*H, F), ``weight_hh_l0`` (G*H, H), {biases}, the suffix
        ``_reverse`` for the second direction; ``head_weight`` (K, D*H), ``head_bias`` (K,);
        ``embedding`` (V, E).{extra_attributes}
    n_features_in_ : int
        T for a table (n, T), F otherwise.
    feature_names_in_ : array of str
        Names of the columns of a table, or of the features of a list of data frames, where X had some.
    n_outputs_ : int
        K, classes or targets.
    n_iter_ : int
        Epochs of the last fit, with those of the fit that it went on with.
    t_ : int
        Sequences that the last fit has trained on, counted at each pass.
    loss_, best_loss_ : float
        Loss of the last epoch, and the least (None with early stopping).
    loss_curve_, grad_norm_curve_, clip_fraction_ : list of float
        One value an epoch: mean loss, mean gradient norm before clipping, share of the steps that were clipped.
    validation_scores_, best_validation_score_ : list of float, float
        With early stopping, one score an epoch and the best; None without.

    References
    ----------
    .. [1] {reference}
    .. [2] Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", ICML 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrecur import {name}
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.normal(size=(length, 2)) for length in rng.integers(3, 9, size=64)]
    {example}
    """

_CLASSIFIER_EXAMPLE = """>>> y = ["up" if x[-1, 0] > x[0, 0] else "down" for x in X]
    >>> model = {name}(hidden_size=16, early_stopping=True, random_state=0).fit(X, y)
    >>> model.predict_proba(X[:3]).shape
    (3, 2)"""

_REGRESSOR_EXAMPLE = """>>> y = [x[-1, 0] - x[0, 0] for x in X]
    >>> model = {name}(hidden_size=16, early_stopping=True, tol=1e-2, random_state=0).fit(X, y)
    >>> model.predict(X[:3]).shape
    (3,)"""

_CLASS_WEIGHT = """
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the loss, by label; "balanced" makes all classes weigh the same."""

_SINGLE_BIAS = "``bias_l0`` (G*H,)"

_CELLS = {
    "RNN": {
        "equations": "h_t = tanh(W_ih x_t + W_hh h_{t-1} + b) [1]_, and a dense layer on the last state.",
        "reference": 'Elman, "Finding structure in time", Cognitive Science 14 (1990).',
        "biases": _SINGLE_BIAS,
        "extra_parameters": """
    nonlinearity : {"tanh", "relu"}, default="tanh"
        What stands around the sum.""",
    },
    "LSTM": {
        "equations": """i, f, o = sigmoid(W_ih x_t + W_hh h_{t-1} + b), g = tanh(...), c_t = f c_{t-1} + i g,
    h_t = o tanh(c_t) [1]_, and a dense layer on the last state. The gates lie in the order i, f, g, o.""",
        "reference": 'Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9 (1997).',
        "biases": _SINGLE_BIAS,
        "extra_parameters": """
    forget_bias : float, default=1.0
        Initial bias of the forget gate, but for ``init`` "chrono" and "pytorch".""",
    },
    "GRU": {
        "equations": """r, z = sigmoid(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh),
    n = tanh(W_in x_t + b_in + r (W_hn h_{t-1} + b_hn)), h_t = (1 - z) n + z h_{t-1} [1]_, and a dense layer on the
    last state. The gates lie in the order r, z, n.""",
        "reference": 'Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP 2014.',
        "biases": "``bias_ih_l0`` and ``bias_hh_l0`` (3*H,)",
        "extra_parameters": "",
    },
}


def documented(cell):
    """Class decorator: complete the docstring, a summary, of an estimator of ``cell`` ("RNN", "LSTM" or "GRU")."""

    def complete(cls):
        facts, classifier = _CELLS[cell], cls.__name__.endswith("Classifier")
        cls.__doc__ = _TEMPLATE.format(
            summary=cls.__doc__,
            equations=facts["equations"],
            reference=facts["reference"],
            biases=facts["biases"],
            extra_parameters=facts["extra_parameters"] + (_CLASS_WEIGHT if classifier else ""),
            extra_attributes="\n    classes_ : array of shape (K,)\n        The labels." if classifier else "",
            name=cls.__name__,
            example=(_CLASSIFIER_EXAMPLE if classifier else _REGRESSOR_EXAMPLE).format(name=cls.__name__),
        )
        return cls

    return complete
