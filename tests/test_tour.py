"""The tour shows what it says: the RNN's gradient ends on the way, the LSTM's arrives."""

from fastrecur.__main__ import N_STEPS, gradient_table


def test_where_the_gradient_goes():
    names, *shares, memory, r2 = (list(column.cells) for column in gradient_table().columns)
    assert names == ["Elman RNN", "LSTM"]
    steps = [int(text.removesuffix(f" of {N_STEPS}")) for text in memory]
    assert steps[0] < steps[1] == N_STEPS
    assert float(shares[-1][0]) < 1e-2 * float(shares[-1][1])
    assert float(r2[0]) < 0.2 < 0.9 < float(r2[1])
