"""The six estimators: a cell and a kind of target each."""

from typing import ClassVar

from sklearn.utils._param_validation import StrOptions

from fastrecur.estimators.base import RecurrentEstimator
from fastrecur.estimators.classification import SequenceClassifier
from fastrecur.estimators.documentation import documented
from fastrecur.estimators.regression import SequenceRegressor


class _Elman(RecurrentEstimator):
    _cell = "rnn"
    _parameter_constraints: ClassVar[dict] = {
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


@documented("RNN")
class RNNClassifier(SequenceClassifier, _Elman):
    """Elman recurrent network that classifies sequences."""


@documented("RNN")
class RNNRegressor(SequenceRegressor, _Elman):
    """Elman recurrent network that predicts a number or several from a sequence."""


@documented("LSTM")
class LSTMClassifier(SequenceClassifier):
    """LSTM (long short-term memory) that classifies sequences."""

    _cell = "lstm"


@documented("LSTM")
class LSTMRegressor(SequenceRegressor):
    """LSTM (long short-term memory) that predicts a number or several from a sequence."""

    _cell = "lstm"


@documented("GRU")
class GRUClassifier(SequenceClassifier):
    """GRU (gated recurrent unit) that classifies sequences."""

    _cell = "gru"


@documented("GRU")
class GRURegressor(SequenceRegressor):
    """GRU (gated recurrent unit) that predicts a number or several from a sequence."""

    _cell = "gru"
