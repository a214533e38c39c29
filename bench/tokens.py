"""What tokens, many outputs and long sequences cost: ``python -m bench.tokens``.

Four figures, those of two sides measured in one process with the same number of threads, medians over rounds in turn:

- **Tokenizing**: ``SequenceTokenizer().fit_transform`` of 100,000 phrases of 20 words, which are as frequent as the
  ranks of a vocabulary of 50,000 make them (Zipf).
- **A large vocabulary**: an epoch of `fit` of an LSTM of 64 units on tokens of a vocabulary of 50,000, vectors of 64
  numbers each, over the same on 64 features a step; the difference of a fit of 4 epochs and one of 1. A step that
  touched the whole table would take many times as long.
- **The next word**: words a second of an LSTM of 128 units behind vectors of 128 numbers, a softmax over 10,000 words
  at each step, Adam with clipping; the same network in PyTorch.
- **Truncated backpropagation**: peak of what NumPy allocates (tracemalloc) in an epoch over sequences of 100,000 steps
  with ``bptt_steps`` of 100, a target at each step, and of 10,000 steps. What grows are the targets and their weights.
"""

import argparse
import gc
import statistics
import tracemalloc
import warnings

import numpy as np
import torch

from bench import machine, timing
from fastrecur import LSTMClassifier, LSTMRegressor
from fastrecur.preprocessing import SequenceTokenizer

#: Sequences of an epoch (tokens, next word), time steps, sequences of a batch.
N, N_TEXT, T, B = 3200, 160, 35, 32


def tokenizing(rounds, n_phrases=100_000, n_words=20, n_known=50_000):
    """Seconds of the tokens of phrases."""
    weights = 1 / np.arange(1, n_known + 1)
    ranks = np.random.default_rng(0).choice(n_known, size=(n_phrases, n_words), p=weights / weights.sum())
    phrases = [" ".join(f"Word{rank}" for rank in row) for row in ranks.tolist()]
    return _medians({"all": lambda: timing.seconds_of(lambda: SequenceTokenizer().fit_transform(phrases))}, rounds)


def vocabulary(threads, rounds, n_tokens=50_000, width=64):
    """Seconds of an epoch on tokens and on features."""
    rng = np.random.default_rng(0)
    tokens, y = rng.integers(n_tokens, size=(N, T)), rng.integers(2, size=N)
    tokens[0, 0] = n_tokens - 1  # the vocabulary is what the first fit sees
    features = rng.normal(size=(N, T, width)).astype(np.float32)
    options = {"batch_size": B, "n_threads": threads, "random_state": 0, "tol": 0.0, "n_iter_no_change": 9}

    def epoch(X, **more):
        def fit(max_iter):
            return timing.seconds_of(lambda: LSTMClassifier(64, max_iter=max_iter, **options, **more).fit(X, y))

        return lambda: (fit(4) - fit(1)) / 3

    return _medians({"tokens": epoch(tokens, embedding_dim=width), "features": epoch(features)}, rounds)


class TorchWords(torch.nn.Module):
    """Embedding, LSTM, linear layer, and Adam's step with clipping."""

    def __init__(self, n_words, width, hidden):
        super().__init__()
        self.embedding = torch.nn.Embedding(n_words, width)
        self.lstm = torch.nn.LSTM(width, hidden, batch_first=True)
        self.head = torch.nn.Linear(hidden, n_words)
        self.optimiser = torch.optim.Adam(self.parameters(), lr=0.005, fused=True)

    def epoch(self, X, y):
        order = torch.randperm(len(X))
        for rows in order.split(B):
            logits = self.head(self.lstm(self.embedding(X[rows]))[0])
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), y[rows].flatten())
            self.optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.parameters(), 1.0)
            self.optimiser.step()


def next_word(threads, rounds, n_words=10_000, width=128):
    """Seconds of an epoch of ours and of PyTorch's; it has `N_TEXT` times `T` words."""
    text = np.random.default_rng(0).integers(n_words, size=(N_TEXT, T + 1))
    X, y = text[:, :-1], text[:, 1:]
    X[0, 0] = n_words - 1
    model = LSTMClassifier(
        width, embedding_dim=width, return_sequences=True, batch_size=B, n_threads=threads, random_state=0
    )
    theirs, tensors = TorchWords(n_words, width, width), (torch.from_numpy(X), torch.from_numpy(y))
    classes = np.arange(n_words)
    sides = {
        "fastrecur": lambda: timing.seconds_of(lambda: model.partial_fit(X, y, classes=classes)),
        "PyTorch": lambda: timing.seconds_of(lambda: theirs.epoch(*tensors)),
    }
    return _medians(sides, rounds)


def truncated(n_steps, bptt_steps=100):
    """Bytes at the peak of an epoch, X and y made beforehand."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4, n_steps, 4))
    y = X.sum(axis=2)
    model = LSTMRegressor(64, return_sequences=True, bptt_steps=bptt_steps, n_threads=1, random_state=0)
    model.partial_fit(X[:, :200], y[:, :200])  # loads the kernels
    gc.collect()
    tracemalloc.start()
    model.partial_fit(X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, y.nbytes


def _medians(measures, rounds):
    for measure in measures.values():
        measure()  # compiles, and makes the network
    return {name: statistics.median(seconds) for name, seconds in timing.in_turn(measures, rounds).items()}


def main():
    parser = argparse.ArgumentParser(description="The cost of tokens, many outputs and long sequences.")
    parser.add_argument("--rounds", type=int, default=20, help="default: 20")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(*machine.describe(), sep="\n")
    print("\n| what | threads | measured | ratio | asked for |\n| --- | --- | --- | --- | --- |")
    seconds = tokenizing(options.rounds)["all"]
    print(f"| tokens of 100,000 phrases of 20 words | 1 | {seconds:.2f} s | | under 3 s |", flush=True)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        s = vocabulary(threads, options.rounds)
        row = f"{s['tokens'] * 1e3:.0f} : {s['features'] * 1e3:.0f} ms | {s['tokens'] / s['features']:.2f}x"
        print(f"| 50,000 tokens over 64 features | {threads} | {row} | at most 1.5x |", flush=True)
        s = next_word(threads, options.rounds)
        ours, theirs = (N_TEXT * T / s[side] for side in ("fastrecur", "PyTorch"))
        row = f"{ours:,.0f} : {theirs:,.0f} words/s | {ours / theirs:.2f}x"
        print(f"| next of 10,000 words, H 128 | {threads} | {row} | at least 1.5x |", flush=True)
    for n_steps in (10_000, 100_000):
        peak, of_y = (n_bytes / 2**20 for n_bytes in truncated(n_steps))
        print(f"| memory at T {n_steps:,} in pieces of 100 | 1 | {peak:.1f} MiB, y itself {of_y:.1f} | | |")


if __name__ == "__main__":
    main()
