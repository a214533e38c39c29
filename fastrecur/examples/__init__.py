"""Examples that run: ``python -m fastrecur.examples.NAME``, each from raw input to a table and a plot."""
