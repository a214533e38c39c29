"""The six estimators: a cell and a kind of target each."""

from sklearn.utils._param_validation import StrOptions

from fastrecur.estimators.base import RecurrentEstimator
from fastrecur.estimators.classification import SequenceClassifier
from fastrecur.estimators.documentation import docstring
from fastrecur.estimators.regression import SequenceRegressor


class _Elman(RecurrentEstimator):
    _cell = "rnn"
    _parameter_constraints: dict = {
        **RecurrentEstimator._parameter_constraints,
        "nonlinearity": [StrOptions({"tanh", "relu"})],
    }

    def __init__(
        self,
        hidden_size=64,
        *,
        nonlinearity="tanh",
        num_layers=1,
        bidirectional=False,
        pooling="last",
        solver="adam",
        learning_rate_init=0.005,
        momentum=0.9,
        alpha=1e-4,
        batch_size="auto",
        max_iter=200,
        tol=1e-4,
        n_iter_no_change=10,
        early_stopping=False,
        validation_fraction=0.1,
        max_grad_norm=1.0,
        shuffle=True,
        random_state=None,
        warm_start=False,
        verbose=False,
        n_threads=None,
        dtype="float32",
    ):
        super().__init__(
            hidden_size,
            num_layers=num_layers,
            bidirectional=bidirectional,
            pooling=pooling,
            solver=solver,
            learning_rate_init=learning_rate_init,
            momentum=momentum,
            alpha=alpha,
            batch_size=batch_size,
            max_iter=max_iter,
            tol=tol,
            n_iter_no_change=n_iter_no_change,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            max_grad_norm=max_grad_norm,
            shuffle=shuffle,
            random_state=random_state,
            warm_start=warm_start,
            verbose=verbose,
            n_threads=n_threads,
            dtype=dtype,
        )
        self.nonlinearity = nonlinearity


class RNNClassifier(SequenceClassifier, _Elman):
    __doc__ = docstring("RNN", "Classifier")


class RNNRegressor(SequenceRegressor, _Elman):
    __doc__ = docstring("RNN", "Regressor")


class LSTMClassifier(SequenceClassifier):
    __doc__ = docstring("LSTM", "Classifier")
    _cell = "lstm"


class LSTMRegressor(SequenceRegressor):
    __doc__ = docstring("LSTM", "Regressor")
    _cell = "lstm"


class GRUClassifier(SequenceClassifier):
    __doc__ = docstring("GRU", "Classifier")
    _cell = "gru"


class GRURegressor(SequenceRegressor):
    __doc__ = docstring("GRU", "Regressor")
    _cell = "gru"
