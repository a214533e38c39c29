"""What the kernels of all cells share: columns of W_hh in registers, and the product with them."""

from fastrecur.kernels.cuda.layout import PIECE
from fastrecur.kernels.cuda.runtime import inline, unsigned


def column_product(layout):
    """(load, add): a column of a weight in registers, and its product with rows in shared memory.

    ``load(w0, w1, w2, w3, w, first, j)`` reads the numbers ``w[first + k, j]`` of the pieces. ``add(w0, w1, w2, w3, w,
    first, j, h, which, z, width)`` adds to ``z[r]`` the sum over k < H of ``w[first + k, j] * h[which, r, k]``, k
    rising, for every row r of the tile.

    Four numbers of ``h`` side by side are one load of 16 bytes where the compiler sees that they lie on 16 bytes: it
    does because ``h`` has three axes and, beyond the pieces, because the index has no sign (an index with one is
    checked for counting from the end). ``width`` is H, as a number of the run: a loop of a known length would be
    unrolled by some compilers, with more loads under way than there are registers.
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
    def add(w0, w1, w2, w3, w, first, j, h, which, z, width):
        add_piece(w0, h, which, 0, z)
        if pieces > 1:
            add_piece(w1, h, which, PIECE, z)
        if pieces > 2:
            add_piece(w2, h, which, 2 * PIECE, z)
        if pieces > 3:
            add_piece(w3, h, which, 3 * PIECE, z)
        if held < n_hidden:
            for k in range(held, width, 4):
                at = unsigned(k)
                for i in range(4):
                    value = w[first + k + i, j]
                    for r in range(rows):
                        z[r] += value * h[which, r, at + unsigned(i)]

    return load, add
