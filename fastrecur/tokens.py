"""Integer tokens: what X may be where the first layer reads embeddings."""

from dataclasses import replace

import numpy as np

from fastrecur.sequences import array_or_elements

#: Tokens lie below it: floats, as which `check_sequences` reads them, no longer tell integers apart from here on.
LARGEST = 2**53


def as_tokens(sequences, X, n_known=None, reader="embedding_dim"):
    """Sequences of tokens as int64.

    Parameters
    ----------
    sequences : Sequences
        What `fastrecur.sequences.check_sequences` made of X.
    X : object
        What the caller gave: its dtype tells integers from floats.
    n_known : int, optional
        V, the size of the vocabulary; tokens from V on are unknown.
    reader : {"embedding_dim", "inverse_transform"}, default="embedding_dim"
        What wants them, for the errors: a table of embeddings or a tokenizer.

    Returns
    -------
    Sequences
        With ``values`` of shape (S, 1), int64.

    Raises
    ------
    ValueError
        If there is more than one feature a time step, or a token is not an integer, negative, unknown or huge.

    Examples
    --------
    >>> from fastrecur.sequences import check_sequences
    >>> from fastrecur.tokens import as_tokens
    >>> X = [[3, 1, 2], [0]]
    >>> as_tokens(check_sequences(X), X).values.ravel()
    array([3, 1, 2, 0])
    """
    embedded = reader == "embedding_dim"
    otherwise = ", or set embedding_dim=None for features" if embedded else ""
    if sequences.n_features != 1:
        raise ValueError(
            f"X has {sequences.n_features} features a time step, but {reader} needs one integer token a time "
            f"step: pass an array (n, T) or a list of (T_i,) arrays{otherwise}."
        )
    dtype = _float_dtype(X)
    if dtype is not None:
        raise ValueError(
            f"X holds floats (dtype {dtype}), but {reader} needs integer tokens. Convert X to integers "
            f"(astype(int)){otherwise}."
        )
    values = sequences.values[:, 0]
    wrong = (values < 0) | (values != np.floor(values)) | (values >= LARGEST)
    if n_known is not None:
        wrong |= values >= n_known
    if wrong.any():
        row = int(wrong.argmax())
        sequence = int(np.searchsorted(sequences.starts, row, side="right")) - 1
        place = f"at sequence {sequence}, step {row - sequences.starts[sequence]}"
        if values[row] < 0:
            raise ValueError(f"X holds the negative token {values[row]:g} {place}. Tokens count from 0.")
        if values[row] >= LARGEST:
            raise ValueError(f"X holds the token {values[row]:g} {place}. Tokens are numbered from 0, without gaps.")
        if values[row] != np.floor(values[row]):
            raise ValueError(f"X holds {values[row]:g} {place}, which is no token. {reader} needs integers.")
        remedy = "Map unknown tokens to one that fit has seen (SequenceTokenizer does), or fit with more."
        raise ValueError(
            f"X holds the unknown token {values[row]:g} {place}: the vocabulary has {n_known} tokens, 0 to "
            f"{n_known - 1}. {remedy if embedded else 'Pass what transform of this tokenizer returned.'}"
        )
    return replace(sequences, values=values.astype(np.int64)[:, np.newaxis])


def _float_dtype(X):
    """The dtype of X, or of the first array in it, that holds floats; None where all are integers."""
    X, elements = array_or_elements(X)
    for part in [X] if elements is None else elements:
        dtype = np.asarray(part).dtype
        if dtype.kind == "f":
            return dtype
    return None
