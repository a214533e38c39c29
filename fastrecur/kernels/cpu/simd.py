"""Vectors and register tiles for Numba: the only place where LLVM IR is written.

Numba cannot keep a tile of accumulators in registers by itself, so this module gives it

- a pointer (`pointer`, `offset`): kernels walk raw memory, because an array slice in a hot loop costs reference
  counting and a signed index costs a test;
- a vector of `lanes(dtype)` numbers with ``+ - * /``, `load`, `store`, `splat`, `fma`, `select_less`, `copysign`
  and the bit trick for 2^n (`power_of_two`);
- a tile of ROWS x VECTORS vectors: `tile_shape`, `tile_zero`, `tile_load`, `tile_dot`, `panel_dot`, `tile_store`.

Everything else is ordinary Python under ``njit``. A vector is as wide as the host's registers; every lane is
computed alone and in one order, so that its bits depend on neither its place nor its neighbours.
"""

import operator

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.errors import TypingError
from numba.core.extending import intrinsic, overload, register_model
from numba.extending import lower_builtin, type_callable

from fastrecur.kernels.cpu.target import HAS_FMA, VECTOR_BYTES

_INT64 = ir.IntType(64)


class Vector(types.Type):
    """Numba type of a vector of floats."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.lanes = VECTOR_BYTES * 8 // dtype.bitwidth
        super().__init__(name=f"Vector({dtype} x {self.lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, _ir_vector(fe_type))


def _ir_float(dtype):
    return ir.FloatType() if dtype == types.float32 else ir.DoubleType()


def _ir_vector(vector):
    return ir.VectorType(_ir_float(vector.dtype), vector.lanes)


def _ir_int_vector(vector):
    return ir.VectorType(ir.IntType(vector.dtype.bitwidth), vector.lanes)


def _is_pointer(value):
    return isinstance(value, types.CPointer) and value.dtype in (types.float32, types.float64)


# --- pointers --------------------------------------------------------------------------------------------------------


@intrinsic
def pointer(typingctx, array):
    """Pointer to the first number of a contiguous array. The caller keeps the array alive."""
    if not isinstance(array, types.Array) or array.layout != "C":
        raise TypingError("pointer() takes a C-contiguous array")

    def codegen(context, builder, signature, args):
        data = cgutils.create_struct_proxy(array)(context, builder, args[0]).data
        return builder.bitcast(data, context.get_value_type(signature.return_type))

    return types.CPointer(array.dtype)(array), codegen


@intrinsic
def offset(typingctx, base, count):
    """The pointer ``count`` numbers further on."""

    def codegen(context, builder, signature, args):
        return _element(builder, base, args[0], builder.sext(args[1], _INT64) if count.bitwidth < 64 else args[1])

    return base(base, count), codegen


def _element(builder, base, address, index):
    element = _ir_float(base.dtype)
    return builder.gep(builder.bitcast(address, element.as_pointer()), [index], source_etype=element)


def _read(builder, kind, address, align):
    """Load a value of LLVM type ``kind`` from any address, aligned to one number only."""
    value = builder.load(builder.bitcast(address, kind.as_pointer()), typ=kind)
    value.align = align
    return value


def _write(builder, value, address, align):
    builder.store(value, builder.bitcast(address, value.type.as_pointer())).align = align


def _align(dtype):
    return dtype.bitwidth // 8


@intrinsic
def load(typingctx, base, index):
    """Vector of the numbers from ``base[index]`` on."""
    if not _is_pointer(base):
        raise TypingError("load() takes a float pointer and an index")
    vector = Vector(base.dtype)

    def codegen(context, builder, signature, args):
        return _read(builder, _ir_vector(vector), _element(builder, base, *args), _align(base.dtype))

    return vector(base, types.intp), codegen


@intrinsic
def store(typingctx, base, index, value):
    """Write a vector to ``base[index]`` and on."""

    def codegen(context, builder, signature, args):
        _write(builder, args[2], _element(builder, base, args[0], args[1]), _align(base.dtype))
        return context.get_dummy_value()

    return types.void(base, types.intp, value), codegen


@intrinsic
def copy(typingctx, target, source, count):
    """Copy ``count`` numbers, converted where the dtypes differ. The two do not overlap."""

    def codegen(context, builder, signature, args):
        if target == source:
            cgutils.raw_memcpy(builder, args[0], args[1], args[2], _align(target.dtype))
            return context.get_dummy_value()
        with cgutils.for_range(builder, args[2]) as loop:
            number = _read(
                builder, _ir_float(source.dtype), _element(builder, source, args[1], loop.index), _align(source.dtype)
            )
            number = context.cast(builder, number, source.dtype, target.dtype)
            _write(builder, number, _element(builder, target, args[0], loop.index), _align(target.dtype))
        return context.get_dummy_value()

    return types.void(target, source, types.intp), codegen


@intrinsic
def prefetch(typingctx, base, index):
    """Ask for the cache line of ``base[index]``, to be read soon."""

    def codegen(context, builder, signature, args):
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, *[ir.IntType(32)] * 3])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        address = builder.bitcast(_element(builder, base, args[0], args[1]), byte)
        builder.call(function, [address, *(ir.IntType(32)(flag) for flag in (0, 3, 1))])  # read, all levels, data
        return context.get_dummy_value()

    return types.void(base, types.intp), codegen


# --- vector arithmetic -----------------------------------------------------------------------------------------------


def _splat(builder, vector, scalar):
    one = builder.insert_element(ir.Constant(_ir_vector(vector), ir.Undefined), scalar, ir.IntType(32)(0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), vector.lanes), [0] * vector.lanes)
    return builder.shuffle_vector(one, ir.Constant(_ir_vector(vector), ir.Undefined), mask)


@intrinsic
def splat(typingctx, like, scalar):
    """Vector of the type of ``like`` (a vector or a pointer) with ``scalar`` in every lane."""
    vector = like if isinstance(like, Vector) else Vector(like.dtype)

    def codegen(context, builder, signature, args):
        return _splat(builder, vector, args[1])

    return vector(like, vector.dtype), codegen


def _call(builder, name, vector, args):
    """Call LLVM's ``name`` for a vector type, declared by its mangled name."""
    kind = _ir_vector(vector)
    mangled = f"llvm.{name}.v{vector.lanes}f{vector.dtype.bitwidth}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * len(args)), mangled)
    return builder.call(function, args)


def _fma(builder, vector, a, b, c):
    return _call(builder, "fma" if HAS_FMA else "fmuladd", vector, [a, b, c])


@intrinsic
def fma(typingctx, a, b, c):
    """a * b + c, rounded once (twice on processors without the instruction)."""

    def codegen(context, builder, signature, args):
        return _fma(builder, a, *args)

    return a(a, a, a), codegen


@intrinsic
def copysign(typingctx, magnitude, sign):
    """``magnitude`` with the sign of ``sign``."""

    def codegen(context, builder, signature, args):
        return _call(builder, "copysign", magnitude, args)

    return magnitude(magnitude, magnitude), codegen


@intrinsic
def select_less(typingctx, a, b, yes, no):
    """``yes`` where a < b, else ``no``: where a or b is NaN, ``no``."""

    def codegen(context, builder, signature, args):
        return builder.select(builder.fcmp_ordered("<", args[0], args[1]), args[2], args[3])

    return a(a, a, a, a), codegen


@intrinsic
def power_of_two(typingctx, shifted):
    """2^n from n + 1.5 * 2^m + bias (m = 23 or 52 mantissa bits): the low bits, moved to the exponent.

    n from -bias to bias + 1 is right: the ends give 0 and infinity.
    """
    mantissa = 23 if shifted.dtype == types.float32 else 52

    def codegen(context, builder, signature, args):
        integers = _ir_int_vector(shifted)
        bits = builder.bitcast(args[0], integers)
        return builder.bitcast(builder.shl(bits, ir.Constant(integers, [mantissa] * shifted.lanes)), args[0].type)

    return shifted(shifted), codegen


def _define_operator(function, instruction):
    @type_callable(function)
    def typer(context):
        def accept(a, b):
            return a if isinstance(a, Vector) and a == b else None

        return accept

    @lower_builtin(function, Vector, Vector)
    def lower(context, builder, signature, args):
        return getattr(builder, instruction)(*args)


for _function, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _define_operator(_function, _instruction)


@overload(operator.neg)
def _negative(a):
    if isinstance(a, Vector):
        return lambda a: splat(a, -0.0) - a


# --- tiles -----------------------------------------------------------------------------------------------------------


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

    def __init__(self, rows, vectors):
        self.rows, self.vectors = rows, vectors
        super().__init__(name=f"TileShape({rows} x {vectors})")


register_model(TileShape)(models.OpaqueModel)


@intrinsic(prefer_literal=True)
def tile_shape(typingctx, rows, vectors):
    """Shape of a tile from two constants."""
    shape = TileShape(rows.literal_value, vectors.literal_value)
    return shape(rows, vectors), lambda context, builder, signature, args: context.get_dummy_value()


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
        zero = ir.Constant(_ir_vector(tile.dtype.dtype), [0.0] * tile.dtype.dtype.lanes)
        return _pack(context, builder, tile, [[zero] * tile.dtype.count] * tile.count)

    return tile(shape, like), codegen


@intrinsic
def tile_load(typingctx, shape, source, row_stride):
    """Tile from memory; ``row_stride`` 0 repeats one row (a bias)."""
    tile = _tile_type(source.dtype, shape.rows, shape.vectors)
    lanes = tile.dtype.dtype.lanes

    def codegen(context, builder, signature, args):
        kind = _ir_vector(tile.dtype.dtype)
        rows = []
        for r in range(tile.count):
            row = _element(builder, source, args[1], builder.mul(args[2], _INT64(r)))
            rows.append(
                [
                    _read(builder, kind, _element(builder, source, row, _INT64(n * lanes)), _align(source.dtype))
                    for n in range(tile.dtype.count)
                ]
            )
        return _pack(context, builder, tile, rows)

    return tile(shape, source, types.intp), codegen


@intrinsic
def tile_store(typingctx, tile, target, row_stride):
    """Write a tile to memory, one row after another."""
    lanes = tile.dtype.dtype.lanes

    def codegen(context, builder, signature, args):
        for r, vectors in enumerate(_unpack(builder, tile, args[0])):
            row = _element(builder, target, args[1], builder.mul(args[2], _INT64(r)))
            for n, vector in enumerate(vectors):
                _write(builder, vector, _element(builder, target, row, _INT64(n * lanes)), _align(target.dtype))
        return context.get_dummy_value()

    return types.void(tile, target, types.intp), codegen


@intrinsic
def tile_dot(typingctx, acc, a, a_row, a_k, b, b_k, count):
    """``acc[r][n] += a[r * a_row + k * a_k] * b[k * b_k + n]`` for k < count, n a whole vector, k rising.

    The heart of the library: ROWS x VECTORS accumulators stay in registers, each step of the loop loads VECTORS
    vectors of b and one number of each row of a.
    """
    return acc(acc, a, types.intp, types.intp, b, types.intp, types.intp), _dot_loop(acc, a, b, b_row=False)


@intrinsic
def panel_dot(typingctx, acc, a, a_k, b, b_row, b_k, count):
    """``acc[r][n] += a[k * a_k] * b[r * b_row + k * b_k + n]``: one row of a against several panels of b at once.

    For a batch of one row: enough independent chains to hide the latency of fma, in the same order of k.
    """
    return acc(acc, a, types.intp, b, types.intp, types.intp, types.intp), _dot_loop(acc, a, b, b_row=True)


def _dot_loop(acc, a, b, b_row):
    vector = acc.dtype.dtype
    n_rows, n_vectors = acc.count, acc.dtype.count

    def codegen(context, builder, signature, args):
        value, a_base, first_stride, second_stride, *rest = args
        if b_row:
            a_k, (b_base, b_stride, b_k, count) = first_stride, (second_stride, *rest)
            a_rows = [a_base]
            b_rows = [_element(builder, b, b_base, builder.mul(b_stride, _INT64(r))) for r in range(n_rows)]
        else:
            a_k, (b_base, b_k, count) = second_stride, rest
            a_rows = [_element(builder, a, a_base, builder.mul(first_stride, _INT64(r))) for r in range(n_rows)]
            b_rows = [b_base]

        before = builder.block
        head, body, after = (builder.append_basic_block(f"dot.{name}") for name in ("head", "body", "after"))
        start = _unpack(builder, acc, value)
        builder.branch(head)

        builder.position_at_end(head)
        k = builder.phi(_INT64)
        sums = [[builder.phi(_ir_vector(vector)) for _ in row] for row in start]
        builder.cbranch(builder.icmp_signed("<", k, count), body, after)

        builder.position_at_end(body)
        at_a = builder.mul(k, a_k)
        loads_b = [
            [
                _read(
                    builder,
                    _ir_vector(vector),
                    _element(builder, b, base, builder.add(builder.mul(k, b_k), _INT64(n * vector.lanes))),
                    _align(b.dtype),
                )
                for n in range(n_vectors)
            ]
            for base in b_rows
        ]
        new = []
        for r, row in enumerate(sums):
            scalar = _read(
                builder, _ir_float(a.dtype), _element(builder, a, a_rows[0 if b_row else r], at_a), _align(a.dtype)
            )
            many = _splat(builder, vector, scalar)
            loads = loads_b[r if b_row else 0]
            new.append([_fma(builder, vector, many, loads[n], row[n]) for n in range(n_vectors)])
        # An empty, convergent instruction. Without it LLVM unrolls the loop, hoists the loads and spills the
        # accumulators: half the speed.
        nothing = ir.InlineAsm(ir.FunctionType(ir.VoidType(), []), "", "", side_effect=True)
        builder.call(nothing, [], attrs=("convergent", "nounwind"))
        k_next = builder.add(k, _INT64(1))
        builder.branch(head)

        k.add_incoming(_INT64(0), before)
        k.add_incoming(k_next, body)
        for phis, starts, news in zip(sums, start, new, strict=True):
            for phi, first, later in zip(phis, starts, news, strict=True):
                phi.add_incoming(first, before)
                phi.add_incoming(later, body)

        builder.position_at_end(after)
        return _pack(context, builder, acc, sums)

    return codegen
