"""Register tiles for Numba, over the vectors of `fastrecur.kernels.cpu.simd`.

Numba cannot keep a tile of accumulators in registers by itself. A tile is ROWS x VECTORS vectors: `tile_shape`,
`tile_zero`, `tile_load`, `tile_dot`, `tile_dot_asking`, `panel_dot`, `tile_shift`, `tile_store`; a square one can be
transposed.
"""

import functools

from llvmlite import ir
from numba import types
from numba.core.datamodel import models
from numba.core.extending import intrinsic, overload, register_model

from fastrecur.kernels.compile import inline
from fastrecur.kernels.cpu.simd import (
    INT64,
    Vector,
    ir_align,
    ir_element,
    ir_float,
    ir_fma,
    ir_prefetch,
    ir_read,
    ir_splat,
    ir_vector,
    ir_write,
)
from fastrecur.kernels.cpu.target import INSTRUCTION_SET, VECTOR_BYTES

#: LLVM's letter for a register that holds a vector.
REGISTER = "w" if INSTRUCTION_SET == "NEON" else "v"

#: Attributes of an empty instruction that holds LLVM back.
CONVERGENT = ("convergent", "nounwind")

#: Steps that are written out in the loop of a tile that asks, once for all of them. With AVX-512 each step asks: it has
#: as many multiplications as two without.
UNROLLED = 4 if VECTOR_BYTES < 64 else 1

#: Rows from which on tiles ask for the vectors of b, and how many steps ahead. With AVX-512 each is a line of a cache,
#: and most lie in the second level: a training step takes up to 3% less (LSTM, H 64 to 512, Zen 5).
TALL_ROWS, STEPS_AHEAD = 6 if VECTOR_BYTES == 64 else 2**62, 16


def _tile_type(dtype, rows, vectors):
    return types.UniTuple(types.UniTuple(Vector(dtype), vectors), rows)


def _unpack(builder, tile, value):
    return [[builder.extract_value(value, [r, n]) for n in range(tile.dtype.count)] for r in range(tile.count)]


def _pack(context, builder, tile, vectors):
    value = ir.Constant(context.get_value_type(tile), ir.Undefined)
    for r, row in enumerate(vectors):
        for n, vector in enumerate(row):
            value = builder.insert_value(value, vector, [r, n])
    return value


class TileShape(types.Opaque):
    """Numba type of a tile's shape: it holds nothing, so that a function is compiled once for each shape."""

    def __init__(self, rows, vectors, asks=False):
        self.rows, self.vectors, self.asks = rows, vectors, asks
        super().__init__(name=f"TileShape({rows} x {vectors}{', asks' if asks else ''})")


register_model(TileShape)(models.OpaqueModel)


@intrinsic(prefer_literal=True)
def tile_shape(typingctx, rows, vectors):
    """Shape of a tile from two constants."""
    shape = TileShape(rows.literal_value, vectors.literal_value)
    return shape(rows, vectors), lambda context, builder, signature, args: context.get_dummy_value()


@intrinsic
def tile_square(typingctx, like):
    """Shape of a tile of one vector a row and as many rows as a vector of the pointer ``like`` has lanes."""
    shape = TileShape(Vector(like.dtype).lanes, 1)
    return shape(like), lambda context, builder, signature, args: context.get_dummy_value()


@intrinsic
def asking(typingctx, shape):
    """The same shape, for tiles that ask for what is read after them."""
    other = TileShape(shape.rows, shape.vectors, asks=True)
    return other(shape), lambda context, builder, signature, args: context.get_dummy_value()


@intrinsic
def asks(typingctx, shape):
    """Whether tiles of this shape do, when it is compiled."""
    return types.boolean(shape), lambda context, builder, signature, args: ir.Constant(ir.IntType(1), shape.asks)


@overload(len)
def _rows_of(shape):
    if isinstance(shape, TileShape):
        rows = shape.rows
        return lambda shape: rows


@intrinsic
def tile_zero(typingctx, shape, like):
    """Tile of zeros of the dtype of the pointer ``like``."""
    tile = _tile_type(like.dtype, shape.rows, shape.vectors)

    def codegen(context, builder, signature, args):
        zero = ir.Constant(ir_vector(tile.dtype.dtype), [0.0] * tile.dtype.dtype.lanes)
        return _pack(context, builder, tile, [[zero] * tile.dtype.count] * tile.count)

    return tile(shape, like), codegen


@intrinsic
def tile_load(typingctx, shape, source, row_stride):
    """Tile from memory; ``row_stride`` 0 repeats one row (a bias)."""
    tile = _tile_type(source.dtype, shape.rows, shape.vectors)
    lanes = tile.dtype.dtype.lanes

    def codegen(context, builder, signature, args):
        kind = ir_vector(tile.dtype.dtype)
        rows = []
        for r in range(tile.count):
            row = ir_element(builder, source, args[1], builder.mul(args[2], INT64(r)))
            rows.append(
                [
                    ir_read(builder, kind, ir_element(builder, source, row, INT64(n * lanes)), ir_align(source.dtype))
                    for n in range(tile.dtype.count)
                ]
            )
        return _pack(context, builder, tile, rows)

    return tile(shape, source, types.intp), codegen


@intrinsic
def tile_store(typingctx, tile, target, row_stride):
    """Write a tile to memory, one row after another."""
    return types.void(tile, target, types.intp), _write_rows(tile, target, lambda builder, vector, before: vector)


@intrinsic
def tile_add(typingctx, tile, target, row_stride):
    """Add a tile to memory, one row after another."""
    return types.void(tile, target, types.intp), _write_rows(tile, target, lambda builder, *both: builder.fadd(*both))


def _write_rows(tile, target, combined):
    """Code that writes what ``combined`` makes of a tile's vectors and of those in memory (LLVM drops unused reads)."""
    lanes, align = tile.dtype.dtype.lanes, ir_align(target.dtype)

    def codegen(context, builder, signature, args):
        for r, vectors in enumerate(_unpack(builder, tile, args[0])):
            row = ir_element(builder, target, args[1], builder.mul(args[2], INT64(r)))
            for n, vector in enumerate(vectors):
                at = ir_element(builder, target, row, INT64(n * lanes))
                ir_write(builder, combined(builder, vector, ir_read(builder, vector.type, at, align)), at, align)
        return context.get_dummy_value()

    return codegen


@intrinsic
def tile_shift(typingctx, tile, target, target_row, source, source_row):
    """Write the first vector of each row to memory; the others move up, and the last one comes from memory."""

    def codegen(context, builder, signature, args):
        value, target_base, target_stride, source_base, source_stride = args
        align, kind = ir_align(target.dtype), ir_vector(tile.dtype.dtype)
        rows = _unpack(builder, tile, value)
        for r, row in enumerate(rows):
            written = ir_element(builder, target, target_base, builder.mul(target_stride, INT64(r)))
            ir_write(builder, row.pop(0), written, align)
            read = ir_element(builder, source, source_base, builder.mul(source_stride, INT64(r)))
            row.append(ir_read(builder, kind, read, align))
        return _pack(context, builder, tile, rows)

    return tile(tile, target, types.intp, source, types.intp), codegen


@inline
def tall_rows(rows, tall, middle):
    """How many of ``rows`` rows tall tiles take: one tile fewer where two middle ones leave fewer rows on their own.

    A tile of one row has too few independent sums to hide the latency of a fused multiply-add.
    """
    rest = rows % len(tall)
    two_middle = rows > len(tall) and 0 < 2 * len(middle) - len(tall) <= rest < len(middle)
    return rows - rest - (len(tall) if two_middle else 0)


@intrinsic
def tile_transpose(typingctx, tile):
    """Transpose a `tile_square` in registers: in each round, rows ``step`` apart swap every other ``step`` lanes."""
    lanes = tile.count

    def codegen(context, builder, signature, args):
        rows = [row for (row,) in _unpack(builder, tile, args[0])]
        step = 1
        while step < lanes:
            ours = _lanes([lane if not lane & step else lanes + lane - step for lane in range(lanes)])
            theirs = _lanes([lane + step if not lane & step else lanes + lane for lane in range(lanes)])
            for r in (r for r in range(lanes) if not r & step):
                pair = rows[r], rows[r + step]
                rows[r], rows[r + step] = (builder.shuffle_vector(*pair, lanes_) for lanes_ in (ours, theirs))
            step *= 2
        return _pack(context, builder, tile, [[row] for row in rows])

    return tile(tile), codegen


def _lanes(indices):
    return ir.Constant(ir.VectorType(ir.IntType(32), len(indices)), indices)


@intrinsic
def tile_dot(typingctx, acc, a, a_row, a_k, b, b_k, count):
    """``acc[r][n] += a[r * a_row + k * a_k] * b[k * b_k + n]`` for k < count, n a whole vector, k rising.

    The heart of the library: ROWS x VECTORS accumulators stay in registers, each step of the loop loads VECTORS
    vectors of b and one number of each row of a.
    """
    return acc(acc, a, types.intp, types.intp, b, types.intp, types.intp), _dot_loop(acc, a, b)


@intrinsic
def tile_dot_asking(typingctx, acc, a, a_row, a_k, b, b_k, count, asked, first, asked_k):
    """`tile_dot` that asks for memory to be read later: at ``k`` for the line of byte ``first + k * asked_k`` of it.

    A little at a time beside the multiplications: what is asked for at once, they wait for.
    """
    given = acc, a, types.intp, types.intp, b, types.intp, types.intp, asked, types.intp, types.intp
    return acc(*given), _dot_loop(acc, a, b, asks=True)


@intrinsic
def panel_dot(typingctx, acc, a, a_k, b, b_row, b_k, count):
    """``acc[r][n] += a[k * a_k] * b[r * b_row + k * b_k + n]``: one row of a against several panels of b at once.

    For a batch of one row: enough independent chains to hide the latency of fma, in the same order of k.
    """
    return acc(acc, a, types.intp, b, types.intp, types.intp, types.intp), _dot_loop(acc, a, b, b_row=True)


def _dot_loop(acc, a, b, b_row=False, asks=False):
    def codegen(context, builder, signature, args):
        value, a_base, first_stride, second_stride, *rest = args
        if b_row:
            a_k, (b_base, b_stride, b_k, count) = first_stride, (second_stride, *rest)
            a_rows = [a_base]
            b_rows = [ir_element(builder, b, b_base, builder.mul(b_stride, INT64(r))) for r in range(acc.count)]
        else:
            a_k, (b_base, b_k, count, *asked) = second_stride, rest
            a_rows = [ir_element(builder, a, a_base, builder.mul(first_stride, INT64(r))) for r in range(acc.count)]
            b_rows = [b_base]
        add = _dot_step(builder, acc, (a, a_rows, a_k), (b, b_rows, b_k))

        def ask_and_add(k, sums):
            _ask(builder, k, *asked)
            for step in range(UNROLLED):
                sums = add(builder.add(k, INT64(step)), sums, in_turn=UNROLLED > 1)
            return sums

        k, sums = INT64(0), _unpack(builder, acc, value)
        if asks:
            whole = builder.sub(count, INT64(UNROLLED - 1))
            k, sums = _loop(builder, (k, whole, UNROLLED), sums, ask_and_add)
        _, sums = _loop(builder, (k, count, 1), sums, add)
        return _pack(context, builder, acc, sums)

    return codegen


def _dot_step(builder, acc, a_side, b_side):
    """Function of k and of the sums so far that gives the next: each side is its type, its rows and its stride of k.

    ``in_turn``: each line of the tile is done before the next one's numbers are loaded. Where several steps are written
    out, LLVM loads for all of them first, and has no registers left for the sums.
    """
    (a, a_rows, a_k), (b, b_rows, b_k) = a_side, b_side
    vector, n_rows, n_vectors = acc.dtype.dtype, acc.count, acc.dtype.count
    lines = [[(r, n) for n in range(n_vectors)] for r in range(n_rows)]
    if len(b_rows) == 1 and n_rows < n_vectors:  # column by column the numbers of a stay in registers, which are fewer
        lines = list(zip(*lines, strict=True))

    def place_in_b(k, row, n):
        return ir_element(builder, b, b_rows[row], builder.add(builder.mul(k, b_k), INT64(n * vector.lanes)))

    def add(k, sums, in_turn=False):
        @functools.cache
        def vector_of_b(row, n):
            return ir_read(builder, ir_vector(vector), place_in_b(k, row, n), ir_align(b.dtype))

        @functools.cache
        def number_of_a(row):
            address = ir_element(builder, a, a_rows[row], builder.mul(k, a_k))
            return ir_splat(builder, ir_vector(vector), ir_read(builder, ir_float(a.dtype), address, ir_align(a.dtype)))

        if len(b_rows) == 1 and n_rows >= TALL_ROWS:
            for n in range(n_vectors):
                ir_prefetch(builder, place_in_b(builder.add(k, INT64(STEPS_AHEAD)), 0, n))
        new = [[None] * n_vectors for _ in sums]
        for line in lines:
            products = [(number_of_a(r % len(a_rows)), vector_of_b(r % len(b_rows), n)) for r, n in line]
            done = [ir_fma(builder, vector, *pair, sums[r][n]) for (r, n), pair in zip(line, products, strict=True)]
            for (r, n), value in zip(line, _finished(builder, done) if in_turn else done, strict=True):
                new[r][n] = value
        if not in_turn:
            # An empty, convergent instruction. Without it LLVM unrolls the loop, hoists the loads and spills the
            # accumulators: half the speed.
            nothing = ir.InlineAsm(ir.FunctionType(ir.VoidType(), []), "", "", side_effect=True)
            builder.call(nothing, [], attrs=CONVERGENT)
        return new

    return add


def _finished(builder, vectors):
    """The vectors, behind an empty instruction that takes them all, and of which LLVM believes that it uses memory."""
    kinds = [vector.type for vector in vectors]
    names = ",".join([f"={REGISTER}"] * len(kinds) + [str(n) for n in range(len(kinds))] + ["~{memory}"])
    result = ir.LiteralStructType(kinds) if len(kinds) > 1 else kinds[0]
    nothing = ir.InlineAsm(ir.FunctionType(result, kinds), "", names, side_effect=True)
    finished = builder.call(nothing, vectors, attrs=CONVERGENT)
    return [builder.extract_value(finished, n) for n in range(len(kinds))] if len(kinds) > 1 else [finished]


def _ask(builder, k, base, first, stride):
    place = builder.add(first, builder.mul(k, stride))
    ir_prefetch(builder, builder.gep(builder.bitcast(base, ir.IntType(8).as_pointer()), [place]))


def _loop(builder, bounds, start, body):
    """Loop of k from the first of ``bounds`` in steps of the third while it is less than the second.

    ``body`` takes k and the sums so far and gives the next. Returns k and the sums after the loop.
    """
    first, last, step = bounds
    before = builder.block
    head, inside, after = (builder.append_basic_block(f"dot.{name}") for name in ("head", "body", "after"))
    builder.branch(head)
    builder.position_at_end(head)
    k = builder.phi(INT64)
    sums = [[builder.phi(vector.type) for vector in row] for row in start]
    builder.cbranch(builder.icmp_signed("<", k, last), inside, after)
    builder.position_at_end(inside)
    new = body(k, sums)
    k.add_incoming(first, before)
    k.add_incoming(builder.add(k, INT64(step)), inside)
    builder.branch(head)
    for phis, starts, news in zip(sums, start, new, strict=True):
        for phi, one, later in zip(phis, starts, news, strict=True):
            phi.add_incoming(one, before)
            phi.add_incoming(later, inside)
    builder.position_at_end(after)
    return k, sums
