"""``python -m bench.pictures``: the gates of a sarcastic phrase, and how far back each cell learns."""

import argparse
from pathlib import Path

from fastrecur.datasets import make_sarcasm
from fastrecur.examples import long_dependencies
from fastrecur.examples.sarcasm import make_lstm
from fastrecur.inspection import GateDisplay

HERE = Path(__file__).parent


def gates():
    """Gates of the first phrase that was held out and that the network, of 24 units, finds sarcastic."""
    phrases, labels = make_sarcasm(4000, random_state=0)
    model = make_lstm(hidden=24, epochs=30).fit(phrases[:3000], labels[:3000])
    print(f"accuracy on 1,000 phrases: {model.score(phrases[3000:], labels[3000:]):.3f}")
    found = [phrase for phrase, label in zip(phrases[3000:], labels[3000:], strict=True) if label]
    display = GateDisplay.from_estimator(model, found[:1])
    display.figure_.savefig(HERE / "gates.png", dpi=110, bbox_inches="tight")


def main():
    argparse.ArgumentParser(description="Draw the README's pictures.").parse_args()
    gates()
    long_dependencies.main(["--plot", str(HERE / "long_dependencies.png")])


if __name__ == "__main__":
    main()
