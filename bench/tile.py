"""The bare register tile: the speed of fused multiply-adds that no kernel can pass."""

import numba
import numpy as np
from numba import prange

from bench import timing
from fastrecur.kernels.compile import inline
from fastrecur.kernels.cpu.panels import aligned_empty
from fastrecur.kernels.cpu.simd import offset, pointer
from fastrecur.kernels.cpu.target import TALL_2, TALL_3, TALL_4, VECTOR_BYTES
from fastrecur.kernels.cpu.tile import tile_dot, tile_shape, tile_store, tile_zero

#: Rows of the sum of one product: its operands stay in the L1 cache.
SUM = 96

#: Products of a call: milliseconds.
PRODUCTS = 10_000


@inline
def _tile_products(shape, a, b, out, products):
    acc = tile_zero(shape, out)
    for _ in range(products):
        acc = tile_dot(acc, pointer(a), a.shape[1], 1, pointer(b), b.shape[1], len(b))
    tile_store(acc, out, b.shape[1])


@inline
def _products(vectors, a, b, out, products, s):
    mine = offset(pointer(out), s * out.shape[1])
    if vectors == 2:
        _tile_products(tile_shape(TALL_2, 2), a, b, mine, products)
    elif vectors == 3:
        _tile_products(tile_shape(TALL_3, 3), a, b, mine, products)
    else:
        _tile_products(tile_shape(TALL_4, 4), a, b, mine, products)


@numba.njit(error_model="numpy", nogil=True, parallel=True)
def _run(vectors, a, b, out, products):
    """Every thread, a row of ``out`` each, adds ``products`` times a b to a tile of its own."""
    if len(out) == 1:  # out of the threading layer, as the kernels are
        _products(vectors, a, b, out, products, 0)
    else:
        for s in prange(len(out)):
            _products(vectors, a, b, out, products, s)


#: Rows and vectors of the tiles that the kernels use.
TILES = ((TALL_4, 4), (TALL_3, 3), (TALL_2, 2))


class Tile:
    """A tile that every thread multiplies on its own; ``flops`` of one call."""

    def __init__(self, rows, vectors, threads):
        lanes, dtype = VECTOR_BYTES // 4, np.dtype(np.float32)
        self._vectors = vectors
        self._a = aligned_empty((rows, SUM), dtype)
        self._b = aligned_empty((SUM, vectors * lanes), dtype)
        self._out = aligned_empty((threads, rows * vectors * lanes), dtype)
        for array in (self._a, self._b):
            array[...] = np.random.default_rng(0).normal(size=array.shape)
        self.flops = 2 * rows * vectors * lanes * SUM * PRODUCTS * threads
        self.text = ""

    def __call__(self):
        _run(self._vectors, self._a, self._b, self._out, PRODUCTS)

    @classmethod
    def fastest(cls, threads):
        """The fastest of the three shapes on so many threads; ``text`` has the speed of all."""
        tiles = {f"{rows} x {vectors}": cls(rows, vectors, threads) for rows, vectors in TILES}
        seconds = timing.in_turn(timing.blocks(tiles), 5, threads)
        speeds = {name: tile.flops / min(seconds[name]) for name, tile in tiles.items()}
        best = tiles[max(speeds, key=speeds.__getitem__)]
        best.text = ", ".join(f"{name} at {speed / 1e9:.0f} GFLOP/s" for name, speed in speeds.items())
        return best
