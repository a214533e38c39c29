"""The docstring that the forecasters share."""

_TEMPLATE = """{summary}

    The network reads the last ``window`` values and says how what follows differs from a linear autoregression on them
    [1]_. One network is trained on all windows of one series, or of all series of a panel.

    `fit` gets a series, `predict` forecasts what follows it: no step of a pipeline, where rows are independent.
    Parameters are compared by `GridSearchCV` and its kind with ``cv=TimeSeriesSplit(n_splits, test_size=horizon)``, as
    in the examples, or by `fastrecur.forecasting.backtest`, which takes panels too. Other splits would look ahead;
    known inputs need scikit-learn's metadata routing, ``set_fit_request(exog=True).set_score_request(exog=True)``.

    Parameters
    ----------
    window : int, default=24
        Time steps that a forecast looks back. Two seasons and more are a good choice, where there is a season.
    horizon : int, default=1
        Time steps to forecast.
    strategy : {{"direct", "recursive"}}, default="direct"
        "direct": the network predicts all steps of the horizon at once. "recursive": it predicts one, which is taken
        for known to predict the next, as far as one likes.
    quantiles : list of float or None, default=None
        Levels between 0 and 1, rising, such as [0.1, 0.5, 0.9]: the network learns these and the median with the
        pinball loss, sorted so that they do not cross [2]_, and `predict` gives the median. None: it learns the mean,
        with the squared error. A recursive forecast draws 500 paths, features independently of each other, and gives
        their quantiles.
    scaling : {{"window", "series"}} or None, default="window"
        Each feature of each series has mean 0 and standard deviation 1 inside, which is undone in the forecasts. With
        "window" the values are relative to the mean of their window besides: for series whose level moves. "series" is
        for series that return to their mean. None: values as they are.
    linear : bool, default=True
        Add a ridge regression of each feature on its own window and the known inputs, with the penalty of least
        leave-one-out error; the network learns what such regressions leave on windows that they were not fitted to.
        With fewer than 5 windows there is none.
    hidden_size : int, default=32
        As in `{name_of_regressor}`, and so all the rest.
    early_stopping : bool, default=True
        As there; kept out are the last windows in time, and those before them that reach into the same values. Where
        the latter are more than half of the windows before the validation, and of a single window, training goes on
        without early stopping.
    num_layers, bidirectional, pooling, dropout, recurrent_dropout, init, solver, learning_rate_init, learning_rate
    momentum, alpha, batch_size, max_iter, tol, n_iter_no_change, validation_fraction, max_grad_norm, bptt_steps
    shuffle, random_state, warm_start, verbose, n_threads, device, dtype{more}
        As in `{name_of_regressor}`. It has two more: ``return_sequences`` and ``embedding_dim`` have no meaning here.

    Attributes
    ----------
    network_ : estimator
        The fitted network, a regressor with ``weights_``, ``loss_curve_``, ``n_iter_`` and so on.
    linear_ : LinearAutoregression or None
        The linear part.
    n_features_in_ : int
        F, features of the series.
    feature_names_in_ : array of shape (F,)
        Names of the features, where fit saw a DataFrame with such.
    n_exog_ : int
        E, inputs known in advance.
    exog_names_in_ : array of shape (E,)
        Their names, where exog was a DataFrame.
    n_series_ : int
        Series that fit saw.

    See Also
    --------
    fastrecur.forecasting.backtest : Errors on the past, without looking ahead.
    fastrecur.forecasting.SeasonalNaive : The forecast to beat.

    References
    ----------
    .. [1] Lai, Chang, Yang and Liu, "Modeling long- and short-term temporal patterns with deep neural networks", SIGIR
       2018, adds a linear autoregression to a recurrent network.
    .. [2] Chernozhukov, Fernandez-Val and Galichon, "Quantile and probability curves without crossing", Econometrica
       78 (2010).

    Examples
    --------
    >>> import numpy as np
    >>> from fastrecur import {name}
    >>> t = np.arange(120)
    >>> series = np.sin(t * np.pi / 6) + 0.01 * t
    >>> forecaster = {name}(window=24, horizon=6, tol=1e-2, random_state=0).fit(series)
    >>> forecaster.predict().shape
    (6, 1)
    >>> bool(np.abs(forecaster.predict()[:, 0] - np.sin(np.arange(120, 126) * np.pi / 6) - 1.2).max() < 0.2)
    True

    A search over parameters:

    >>> from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
    >>> forecaster = {name}(horizon=6, hidden_size=8, tol=1e-2, random_state=0)
    >>> search = GridSearchCV(forecaster, {{"window": [2, 24]}}, cv=TimeSeriesSplit(2, test_size=6)).fit(series)
    >>> search.best_params_
    {{'window': 24}}
    """


def documented(cell):
    """Class decorator: complete the docstring, a summary, of a forecaster of ``cell`` ("RNN", "LSTM" or "GRU")."""

    def complete(cls):
        more = {"RNN": ", nonlinearity", "LSTM": ", forget_bias", "GRU": ""}[cell]
        names = {"name": cls.__name__, "name_of_regressor": f"{cell}Regressor"}
        cls.__doc__ = _TEMPLATE.format(summary=cls.__doc__, more=more, **names)
        return cls

    return complete
