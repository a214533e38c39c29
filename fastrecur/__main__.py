"""``python -m fastrecur``: the tour. Handwritten digits, read row by row, with scikit-learn's own data."""

from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from fastrecur import LSTMClassifier, LSTMRegressor, RNNClassifier, RNNRegressor
from fastrecur.datasets import make_adding_problem
from fastrecur.examples.training import on_a_budget, timed_fit
from fastrecur.inspection import gradient_flow

NEXT = """[bold]Where to go next[/bold]
  Your own sequences    LSTMClassifier().fit(X, y), with X an array (n, T, F) or a list of (T_i, F) arrays
  In a pipeline         make_pipeline(PerTimestep(StandardScaler()), GRUClassifier()), from fastrecur.preprocessing
  Numbers for targets   LSTMRegressor, GRURegressor, RNNRegressor
  Inside a network      gradient_flow, gate_activations and displays, from fastrecur.inspection
  A loop of your own    from fastrecur.layers import LSTM: forward, backward, step
  How far back          python -m fastrecur.examples.long_dependencies"""

#: Lags of the table of the gradient, the steps of its sequences, and the epochs of its networks.
LAGS, N_STEPS, N_EPOCHS = (0, 10, 20, 40, 59), 60, 20


def load():
    """Digits as sequences: 8 time steps (rows of the picture) of 8 features (pixels, 0 to 1); 30% held out."""
    X, y = load_digits(return_X_y=True)
    return train_test_split((X / 16).reshape(-1, 8, 8), y, test_size=0.3, random_state=0, stratify=y)


def fit_and_score(model, X_train, X_test, y_train, y_test):
    """Held-out accuracy, epochs, and seconds per epoch, of a fitted ``model``."""
    seconds = timed_fit(model, X_train, y_train)
    return model.score(X_test, y_test), model.n_iter_, seconds / model.n_iter_


def gradient_table():
    """The gradient by its distance from the end in two networks that were to learn the adding problem, and R^2."""
    X, y = make_adding_problem(1000, N_STEPS, random_state=0)
    table = Table("network", *(f"lag {lag}" for lag in LAGS), "effective memory", "R^2")
    for name, model in (
        ("Elman RNN", RNNRegressor(32, max_iter=N_EPOCHS, init="pytorch", random_state=2)),
        ("LSTM", LSTMRegressor(32, max_iter=N_EPOCHS, init="chrono", random_state=2)),
    ):
        with on_a_budget():
            flow = gradient_flow(model.fit(X, y), X, y)
        shares = flow.by_lag[list(LAGS)] / flow.by_lag[0]
        memory = f"{flow.effective_memory} of {N_STEPS}"
        table.add_row(name, *(f"{share:.0e}" for share in shares), memory, f"{model.score(X, y):.2f}")
    return table


def main():
    """Train, compare, print."""
    console = Console()
    X_train, X_test, y_train, y_test = load()
    console.print(
        f"[bold]fastrecur[/bold]: {len(X_train) + len(X_test)} handwritten digits as sequences of 8 rows of 8 pixels, "
        f"{len(X_test)} of them held out.\nThe first run compiles the kernels for this processor (a few seconds each) "
        "and keeps them.\n",
        soft_wrap=True,
    )
    table = Table("model", "sees", "held-out accuracy", "epochs", "ms per epoch")
    for cls, cell in ((RNNClassifier, "Elman RNN"), (LSTMClassifier, "LSTM")):
        with console.status(f"{cell}: compiling, or loading what was compiled"):
            fit_and_score(cls(max_iter=1), X_train[:64], X_test[:64], y_train[:64], y_test[:64])
        console.print(f"{cell}:")
        model = cls(random_state=0, verbose=True)
        accuracy, epochs, seconds = fit_and_score(model, X_train, X_test, y_train, y_test)
        table.add_row(cell, "a row at a time", f"{accuracy:.1%}", str(epochs), f"{1000 * seconds:.0f}")
    flat_train, flat_test = X_train.reshape(-1, 64), X_test.reshape(-1, 64)
    mlp = MLPClassifier(random_state=0)
    accuracy, epochs, seconds = fit_and_score(mlp, flat_train, flat_test, y_train, y_test)
    table.add_row("MLPClassifier", "all 64 pixels", f"{accuracy:.1%}", str(epochs), f"{1000 * seconds:.0f}")
    console.print(table)
    console.print(
        f"\n[bold]Where the gradient goes[/bold]: sequences of {N_STEPS} steps (two of their numbers are to be added), "
        f"after {N_EPOCHS} epochs\nof an RNN with PyTorch's initial weights and of an LSTM with those for long memories"
        ' (init="chrono").\nHow much of the gradient at the last step is left so many steps before it:',
        soft_wrap=True,
    )
    with console.status("Regressors: compiling, or loading what was compiled"):
        table = gradient_table()
    console.print(table)
    console.print(NEXT, soft_wrap=True)


if __name__ == "__main__":
    main()
