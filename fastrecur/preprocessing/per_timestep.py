"""`PerTimestep`: any transformer on the rows of all time steps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn import config_context, get_config
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, clone
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from fastrecur.frames import kind_of_frame, make_frame
from fastrecur.network.validation import check_choice
from fastrecur.sequences import Sequences, array_or_elements, check_sequences

#: What set_output knows.
CONTAINERS = ("default", "pandas", "polars")


def _has(name: str) -> Any:
    """Offer a method only where the transformer has it."""

    def check(self: PerTimestep) -> bool:
        getattr(getattr(self, "transformer_", self.transformer), name)  # its AttributeError says what is missing
        return True

    return available_if(check)


class PerTimestep(TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):  # type: ignore[call-arg]
    """Apply a scikit-learn transformer to the rows of all time steps.

    The time steps of all sequences are stacked to a table of shape (S, F), which the transformer is fitted on and
    transforms; the result goes back into the layout that came in. All sequences and all steps are one sample to the
    transformer: ``PerTimestep(StandardScaler())`` gives each feature zero mean over every step of every sequence.

    Parameters
    ----------
    transformer : transformer instance
        Any transformer of tables: a scaler, an imputer, a decomposition, a pipeline of these. It must give one row
        for each row. It is cloned; a sparse result is made dense.

    Attributes
    ----------
    transformer_ : transformer instance
        The fitted transformer.
    n_features_in_ : int
        T where fit saw a 2-D X, F otherwise.
    feature_names_in_ : ndarray of shape (T,) or (F,)
        Names of the columns, where fit saw a DataFrame, or of the features, where it saw a list of such. The
        transformer is shown those: a `ColumnTransformer` may choose features by their names.

    Notes
    -----
    A 2-D X of shape (n, T) has one feature a step: the transformer sees (n * T, 1), and all columns share one mean.
    It comes back as (n, T) if the transformer gives one feature and as (n, T, K) if it gives K.

    After ``set_output(transform="pandas")`` (or "polars") what would be an (n, T) array is a DataFrame, and a list of
    data frames comes back as such; arrays (n, T, F) and lists of arrays stay what they are.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.preprocessing import StandardScaler
    >>> from fastrecur.preprocessing import PerTimestep
    >>> X = [np.array([[1.0, 10.0], [3.0, 30.0]]), np.array([[2.0, 20.0]])]
    >>> scaled = PerTimestep(StandardScaler()).fit_transform(X)
    >>> scaled[1]
    array([[0., 0.]])
    >>> np.concatenate(scaled).std(axis=0)
    array([1., 1.])
    """

    def __init__(self, transformer: Any) -> None:
        self.transformer = transformer

    def fit(self, X: Any, y: ArrayLike | list | None = None) -> PerTimestep:
        """Fit the transformer to the time steps of all sequences.

        Parameters
        ----------
        X : array (n, T, F); array or DataFrame (n, T); list of (T_i, F) or (T_i,) arrays
            The sequences.
        y : array-like of shape (n,) or (n, K), or list of (T_i,) or (T_i, K) arrays, or array (n, T[, K]), default=None
            Targets for a transformer that wants them, one a time step (an array with T columns is read so) or one a
            sequence, which is repeated for each of its steps; K a sequence only where its tags say that it requires y.

        Returns
        -------
        PerTimestep
            The fitted object itself.

        Raises
        ------
        ValueError
            If X is not one of the forms above (see `fastrecur.sequences.check_sequences`), or if y is of another
            length than X.
        TypeError
            If `transformer` has no fit and transform, or X holds objects that are not numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.preprocessing import MinMaxScaler
        >>> from fastrecur.preprocessing import PerTimestep
        >>> PerTimestep(MinMaxScaler()).fit(np.arange(24).reshape(4, 3, 2)).transformer_.data_max_
        array([22., 23.])
        """
        sequences, targets = self._start_fit(X, y)
        transformer = clone(self.transformer)
        with config_context(transform_output="default"):
            self.transformer_ = transformer.fit(self._shown(sequences), targets)
        return self

    def fit_transform(self, X: Any, y: ArrayLike | list | None = None) -> Any:
        """Fit the transformer and transform X, with the transformer's own fit_transform where it has one.

        Parameters
        ----------
        X : array (n, T, F); array or DataFrame (n, T); list of (T_i, F) or (T_i,) arrays
            The sequences.
        y : array-like of shape (n,) or (n, K), or list of (T_i,) or (T_i, K) arrays, or array (n, T[, K]), default=None
            Targets, as in `fit`.

        Returns
        -------
        array (n, T, K), array or DataFrame (n, T), or list of (T_i, K) or (T_i,) arrays
            The transformed sequences, in the layout of X.

        Raises
        ------
        ValueError, TypeError
            As `fit`.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.preprocessing import MinMaxScaler
        >>> from fastrecur.preprocessing import PerTimestep
        >>> PerTimestep(MinMaxScaler()).fit_transform(np.array([[0.0, 5.0], [10.0, 2.0]]))
        array([[0. , 0.5],
               [1. , 0.2]])
        """
        sequences, targets = self._start_fit(X, y)
        transformer, shown = clone(self.transformer), self._shown(sequences)
        with config_context(transform_output="default"):
            if hasattr(transformer, "fit_transform"):
                rows = transformer.fit_transform(shown, targets)
            else:
                rows = transformer.fit(shown, targets).transform(shown)
        self.transformer_ = transformer
        return self._framed(self._restored(rows, sequences, sequences.scalar_steps), X)

    def transform(self, X: Any) -> Any:
        """Transform the time steps of all sequences.

        Parameters
        ----------
        X : array (n, T, F); array or DataFrame (n, T); list of (T_i, F) or (T_i,) arrays
            The sequences, with the number of features that fit saw.

        Returns
        -------
        array (n, T, K), array or DataFrame (n, T), or list of (T_i, K) or (T_i,) arrays
            The transformed sequences, in the layout of X.

        Raises
        ------
        NotFittedError
            If fit was not called.
        ValueError, TypeError
            If X is not one of the forms above or does not match what fit saw, or if the transformer does not give one
            row for each time step.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.preprocessing import FunctionTransformer
        >>> from fastrecur.preprocessing import PerTimestep
        >>> PerTimestep(FunctionTransformer(np.sqrt)).fit([[4.0], [9.0, 1.0]]).transform([[16.0, 25.0], [1.0]])
        [array([4., 5.]), array([1.])]
        """
        check_is_fitted(self)
        sequences = check_sequences(X, estimator=self, reset=False, allow_nan=self._allows_nan())
        with config_context(transform_output="default"):
            rows = self.transformer_.transform(self._shown(sequences))
        return self._framed(self._restored(rows, sequences, sequences.scalar_steps), X)

    @_has("inverse_transform")
    def inverse_transform(self, X: Any) -> Any:
        """Undo the transformation, for a transformer that can.

        Parameters
        ----------
        X : array (n, T, K); array or DataFrame (n, T); list of (T_i, K) or (T_i,) arrays
            Transformed sequences.

        Returns
        -------
        array (n, T, F) or (n, T), or list of (T_i, F) or (T_i,) arrays
            The sequences in the layout of X, with the features that fit saw.

        Raises
        ------
        NotFittedError
            If fit was not called.
        ValueError, TypeError
            If X is not one of the forms above, or the transformer refuses it.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.preprocessing import MinMaxScaler
        >>> from fastrecur.preprocessing import PerTimestep
        >>> scaler = PerTimestep(MinMaxScaler()).fit([[0.0], [10.0, 4.0]])
        >>> scaler.inverse_transform([[0.5, 0.25], [1.0]])
        [array([5. , 2.5]), array([10.])]
        """
        check_is_fitted(self)
        sequences = check_sequences(X, allow_nan=True)
        with config_context(transform_output="default"):
            rows = self.transformer_.inverse_transform(sequences.values)
        widened = self._scalar_steps and sequences.n_features > 1  # (n, T) had become (n, T, K)
        return self._restored(rows, sequences, sequences.scalar_steps or widened)

    @_has("get_feature_names_out")
    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray:
        """Name the features of the transformed sequences.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the T columns where fit saw a 2-D X, of the F features otherwise.

        Returns
        -------
        ndarray of str
            Where fit saw a 2-D X and the transformer gives one feature, a name for each of the T columns; otherwise
            the transformer's names for the features of a time step.

        Raises
        ------
        NotFittedError
            If fit was not called.
        ValueError
            If `input_features` is of another length or differs from `feature_names_in_`.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.preprocessing import PolynomialFeatures
        >>> from fastrecur.preprocessing import PerTimestep
        >>> PerTimestep(PolynomialFeatures(2)).fit(np.ones((3, 5, 2))).get_feature_names_out(["u", "v"])
        array(['1', 'u', 'v', 'u^2', 'u v', 'v^2'], dtype=object)
        """
        check_is_fitted(self)
        if self._fit_layout != "table":
            return self.transformer_.get_feature_names_out(input_features)
        columns = OneToOneFeatureMixin.get_feature_names_out(self, input_features)  # checks the names of the columns
        per_step = self.transformer_.get_feature_names_out()
        if len(per_step) != 1:
            return per_step
        names = [self.transformer_.get_feature_names_out([column])[0] for column in columns]
        if len(set(names)) < len(set(columns)):  # the transformer names its features without regard to their source
            names = [f"{column}_{name}" for column, name in zip(columns, names, strict=True)]
        return np.array(names, dtype=object)

    def set_output(self, *, transform: str | None = None) -> PerTimestep:
        """Choose the container that `transform` and `fit_transform` return for an (n, T) result, or a list of frames.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, default=None
            "default" is a NumPy array; None changes nothing.

        Returns
        -------
        PerTimestep
            The object itself.

        Raises
        ------
        ValueError
            If `transform` is another word.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.preprocessing import StandardScaler
        >>> from fastrecur.preprocessing import PerTimestep
        >>> scaler = PerTimestep(StandardScaler()).set_output(transform="default")
        >>> type(scaler.fit_transform(np.eye(3))).__name__
        'ndarray'
        """
        if transform is not None:
            check_choice("transform", transform, CONTAINERS)
            self._sklearn_output_config = {"transform": transform}  # the name that clone copies
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.three_d_array = True
        if hasattr(self.transformer, "__sklearn_tags__"):
            inner = get_tags(self.transformer)
            tags.input_tags.allow_nan = inner.input_tags.allow_nan
            tags.input_tags.positive_only = inner.input_tags.positive_only
            tags.target_tags.required = inner.target_tags.required
            tags.non_deterministic = inner.non_deterministic
            if inner.transformer_tags is not None:
                kept = [name for name in inner.transformer_tags.preserves_dtype if name in ("float64", "float32")]
                tags.transformer_tags.preserves_dtype = kept
        return tags

    def _allows_nan(self) -> bool:
        return self.__sklearn_tags__().input_tags.allow_nan

    def _start_fit(self, X: Any, y: Any) -> tuple[Sequences, NDArray | None]:
        """Check everything before any work; return the sequences and one target a time step."""
        if isinstance(self.transformer, type) or not all(
            hasattr(self.transformer, name) for name in ("fit", "transform")
        ):
            raise TypeError(
                f"transformer must be a transformer instance with fit and transform, got {self.transformer!r}. "
                "Pass one such as StandardScaler()."
            )
        sequences = check_sequences(X, estimator=self, reset=True, allow_nan=self._allows_nan())
        targets = None if y is None else self._targets(y, sequences)
        self._scalar_steps = sequences.scalar_steps
        named = sequences.layout == "ragged" and hasattr(self, "feature_names_in_")
        self._frame_kind = next(filter(None, map(kind_of_frame, X))) if named else None
        return sequences, targets

    def _shown(self, sequences: Sequences) -> Any:
        """Return what the transformer sees: the rows (S, F), with their names where fit saw some."""
        if self._frame_kind is None:
            return sequences.values
        return make_frame(self._frame_kind, sequences.values, self.feature_names_in_)

    def _targets(self, y: Any, sequences: Sequences) -> NDArray | None:
        """Return one target a time step, or None where the transformer has no use for targets of this form."""
        y, elements = array_or_elements(y)
        if elements is None:
            y = np.asarray(y)
        n_targets = np.shape(y)[:1] if elements is None else (len(elements),)
        if n_targets != (len(sequences),):
            raise ValueError(
                f"y must have one target a sequence: X has {len(sequences)} sequences, y has {sum(n_targets)} targets."
            )
        if elements is None and y.size == len(sequences):
            return np.repeat(y, sequences.lengths, axis=0)
        if elements is not None:
            if [np.shape(target)[:1] for target in elements] == [(length,) for length in sequences.lengths]:
                return np.concatenate([np.asarray(target) for target in elements])
        elif sequences.layout != "ragged" and y.shape[1] == sequences.max_length:
            return y.reshape(-1, *y.shape[2:])
        if not self.__sklearn_tags__().target_tags.required:
            return None  # repeated, K targets a sequence could be far larger than X
        try:
            return np.repeat(np.asarray(elements or y), sequences.lengths, axis=0)
        except ValueError as error:
            raise ValueError(
                "y is a list of arrays whose lengths are neither those of the sequences of X nor all the same. "
                "Pass one target a time step, or one a sequence."
            ) from error

    def _restored(self, rows: Any, sequences: Sequences, scalar_steps: bool) -> NDArray | list[NDArray]:
        """Put the transformer's rows back into the layout of X, without the feature axis if X had none."""
        rows = rows.toarray() if issparse(rows) else np.asarray(rows)
        if rows.ndim != 2 or len(rows) != len(sequences.values):
            raise ValueError(
                f"transformer made an array of shape {rows.shape} of {len(sequences.values)} time steps. "
                "It must give one row for each time step."
            )
        return sequences.unstack(rows[:, 0] if scalar_steps and rows.shape[1] == 1 else rows)

    def _framed(self, transformed: NDArray | list[NDArray], X: Any) -> Any:
        """Turn an (n, T) result, or a list where X was one of frames, into the container that set_output asked for."""
        config = getattr(self, "_sklearn_output_config", {})
        container = config.get("transform", get_config()["transform_output"])
        check_choice("transform_output", container, CONTAINERS)
        if container == "default" or not hasattr(self, "get_feature_names_out"):
            return transformed  # as in scikit-learn: no names for the columns, no frame
        if isinstance(transformed, list) and self._frame_kind is not None and all(map(kind_of_frame, X)):
            names = self.get_feature_names_out()
            return [_in_frame(container, part, names, x) for part, x in zip(transformed, X, strict=True)]
        if self._fit_layout != "table" or isinstance(transformed, list) or transformed.ndim != 2:
            return transformed
        return _in_frame(container, transformed, self.get_feature_names_out(), X)


def _in_frame(container: str, rows: NDArray, names: NDArray, given: Any) -> Any:
    """Return rows in a DataFrame, with the index of the frame of pandas that they were made of."""
    index = given.index if container == kind_of_frame(given) == "pandas" else None
    return make_frame(container, rows, names, index)
