"""The README's pictures: ``python -m bench.pictures`` draws them into this folder, from networks that it trains."""
