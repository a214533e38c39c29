"""What the kernels of all cells share: columns of W_hh in registers, the product with them, the activations.

Each function here builds pieces for one layout; a kernel calls them and they are compiled into it.
"""

import math

from fastrecur.kernels.cuda.layout import PIECE
from fastrecur.kernels.cuda.runtime import inline


def activations(layout):
    """(sigmoid, tanh) of the layout's dtype, exact to the last bits: through CUDA's exp and tanh, without overflow."""
    one = layout.real(1)

    @inline
    def sigmoid(z):
        e = math.exp(-abs(z))
        q = one / (one + e)
        return q if z >= 0 else e * q

    @inline
    def tanh(z):
        return math.tanh(z)

    return sigmoid, tanh


def column_product(layout):
    """(load, add): a column of a weight in registers, and its product with rows in shared memory.

    ``load(w0, w1, w2, w3, w, first, j)`` reads the numbers ``w[first + k, j]`` of the pieces. ``add(w0, w1, w2, w3, w,
    first, j, h, which, z)`` adds to ``z[r]`` the sum over k < H of ``w[first + k, j] * h[which, r, k]``, k rising, for
    every row r of the tile. That h has three axes lets the compiler see that four of its numbers lie on 16 bytes, which
    it then loads at once.
    """
    n_hidden, rows, pieces = layout.n_hidden, layout.rows, layout.pieces
    held = PIECE * pieces

    @inline
    def load_piece(piece, w, first, j):
        for k in range(PIECE):
            piece[k] = w[first + k, j]

    @inline
    def add_piece(piece, h, which, at, z):
        for k in range(PIECE):
            for r in range(rows):
                z[r] += piece[k] * h[which, r, at + k]

    @inline
    def load(w0, w1, w2, w3, w, first, j):
        load_piece(w0, w, first, j)
        if pieces > 1:
            load_piece(w1, w, first + PIECE, j)
        if pieces > 2:
            load_piece(w2, w, first + 2 * PIECE, j)
        if pieces > 3:
            load_piece(w3, w, first + 3 * PIECE, j)

    @inline
    def add(w0, w1, w2, w3, w, first, j, h, which, z):
        add_piece(w0, h, which, 0, z)
        if pieces > 1:
            add_piece(w1, h, which, PIECE, z)
        if pieces > 2:
            add_piece(w2, h, which, 2 * PIECE, z)
        if pieces > 3:
            add_piece(w3, h, which, 3 * PIECE, z)
        for k in range(held, n_hidden):
            for r in range(rows):
                z[r] += w[first + k, j] * h[which, r, k]

    return load, add
