"""Whether there is memory for a fit, before it begins."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from fastrecur.network.gradient import FULL_STEPS
from fastrecur.network.model import training_memory

_GIBIBYTE = 2**30


def check_memory(estimator: Any, sequences: Any, batch_size: int, architecture: dict, device: str) -> None:
    """Refuse a fit whose buffers exceed the memory of the machine or, on "cuda", what is free of the GPU's.

    Raises
    ------
    ValueError
        With what is needed, what there is, and which parameters to lower.
    """
    lengths = np.sort(sequences.lengths)
    longest, n_steps = int(lengths[-1]), int(lengths.sum())
    if estimator.solver == "lbfgs":  # sees all sequences, part by part
        n_packed = min(n_steps, FULL_STEPS + longest)
        n_rows, n_pieces = -(-n_packed * len(lengths) // n_steps), 1
        batch = "A part of the data as solver='lbfgs' takes it"
        remedy = "hidden_size or num_layers, or cut the sequences"
    else:
        piece, n_rows = min(estimator.bptt_steps or longest, longest), batch_size
        n_packed, n_pieces = int(np.minimum(lengths[-batch_size:], piece).sum()), -(-longest // piece)
        batch = f"A batch of batch_size={batch_size} sequences"
        remedy = "batch_size, hidden_size or num_layers, cut the sequences, or set bptt_steps"
    tokens, n_tokens = "", architecture["n_tokens"]
    if n_tokens:
        tokens = f", and {n_tokens} tokens (the largest in X, and one) of embedding_dim={architecture['n_features']},"
        remedy = f"embedding_dim or the tokens, {remedy}"
    dropped = bool(estimator.dropout > 0), bool(estimator.recurrent_dropout > 0)
    available = _free_on_gpu() if device == "cuda" else None
    if available is not None:
        from fastrecur.network.cuda import memory  # which imports CUDA

        given = estimator._cell, n_steps, n_packed, n_rows, n_pieces, *dropped
        needed, of_x = memory.training_memory(*given, **architecture)
        to_train = f"of the GPU's memory to train, {of_x / _GIBIBYTE:.1f} GiB of it for X, all of which goes there; "
        to_train += f"{available / _GIBIBYTE:.1f} GiB are free"
        remedy += ", or take device='cpu'" if of_x < needed / 2 else ", take fewer sequences, or device='cpu'"
    else:
        available = _physical_memory()
        needed = training_memory(estimator._cell, n_packed, **architecture, n_dropped=sum(dropped))
        to_train = f"to train; this machine has {(available or 0) / _GIBIBYTE:.1f} GiB"
    if available is not None and needed > available:
        raise ValueError(
            f"{batch} with hidden_size={architecture['hidden_size']}, num_layers={architecture['num_layers']} and "
            f"up to {longest} time steps{tokens} needs about {needed / _GIBIBYTE:.1f} GiB {to_train}. Lower {remedy}."
        )


def _free_on_gpu():
    """Bytes of the GPU's memory that are free, or None in the simulator, whose memory is the machine's."""
    from fastrecur.kernels.cuda import runtime  # which imports CUDA

    return runtime.free_memory()


def _physical_memory():
    """Bytes of memory of the machine or its container, or None where the system does not tell."""
    try:
        available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    try:
        return min(available, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (ValueError, OSError):  # "max", or no such container
        return available
