"""Vectors for Numba. Here, in `fastrecur.kernels.cpu.tile` and in ``team`` alone LLVM IR is written.

Numba knows no vector registers, so this module gives it

- a pointer (`pointer`, `offset`): kernels walk raw memory, because an array slice in a hot loop costs reference
  counting and a signed index costs a test;
- a vector of `lanes(dtype)` numbers with ``+ - * /``, `load`, `load_part`, `store`, `splat`, `fma`, `select_less`,
  `copysign`, `absolute` and the bit trick for 2^n, with a table in a register (`power_of_two`); `copy` and `prefetch`.

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

from fastrecur.kernels.cpu.target import CACHE_LINE, HAS_FMA, INSTRUCTION_SET, VECTOR_BYTES

INT64 = ir.IntType(64)


class Vector(types.Type):
    """Numba type of a vector of floats."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.lanes = VECTOR_BYTES * 8 // dtype.bitwidth
        super().__init__(name=f"Vector({dtype} x {self.lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir_vector(fe_type))


def ir_float(dtype):
    """LLVM type of a number."""
    return ir.FloatType() if dtype == types.float32 else ir.DoubleType()


def ir_vector(vector):
    """LLVM type of a `Vector`."""
    return ir.VectorType(ir_float(vector.dtype), vector.lanes)


def _ir_int_vector(vector):
    return ir.VectorType(ir.IntType(vector.dtype.bitwidth), vector.lanes)


def _is_pointer(value):
    return isinstance(value, types.CPointer) and value.dtype in (types.float32, types.float64)


# --- pointers --------------------------------------------------------------------------------------------------------


@intrinsic
def pointer(typingctx, array):
    """Pointer to the first number of a contiguous array, which somebody else keeps alive.

    A kernel's arguments live as long as its call. An array made inside of it is freed behind its last mention, while
    the pointer may still be in use: scratch comes from the caller.
    """
    if not isinstance(array, types.Array) or array.layout != "C":
        raise TypingError("pointer() takes a C-contiguous array")

    def codegen(context, builder, signature, args):
        data = cgutils.create_struct_proxy(array)(context, builder, args[0]).data
        return builder.bitcast(data, context.get_value_type(signature.return_type))

    return types.CPointer(array.dtype)(array), codegen


@intrinsic
def pointer_to(typingctx, address, like):
    """Pointer of the type of ``like`` to an address of the memory."""

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return like(types.intp, like), codegen


@intrinsic
def offset(typingctx, base, count):
    """The pointer ``count`` numbers further on."""

    def codegen(context, builder, signature, args):
        return ir_element(builder, base, args[0], builder.sext(args[1], INT64) if count.bitwidth < 64 else args[1])

    return base(base, count), codegen


def ir_element(builder, base, address, index):
    """Address of number ``index`` behind ``address``, a pointer of the Numba type ``base``."""
    element = ir_float(base.dtype)
    return builder.gep(builder.bitcast(address, element.as_pointer()), [index], source_etype=element)


def ir_read(builder, kind, address, align):
    """Load a value of LLVM type ``kind`` from any address, aligned to one number only."""
    value = builder.load(builder.bitcast(address, kind.as_pointer()), typ=kind)
    value.align = align
    return value


def ir_write(builder, value, address, align):
    """Store a value at any address, aligned to one number only."""
    builder.store(value, builder.bitcast(address, value.type.as_pointer())).align = align


def ir_align(dtype):
    """Bytes of a number."""
    return dtype.bitwidth // 8


@intrinsic
def load(typingctx, base, index):
    """Vector of the numbers from ``base[index]`` on."""
    if not _is_pointer(base):
        raise TypingError("load() takes a float pointer and an index")
    vector = Vector(base.dtype)

    def codegen(context, builder, signature, args):
        return ir_read(builder, ir_vector(vector), ir_element(builder, base, *args), ir_align(base.dtype))

    return vector(base, types.intp), codegen


@intrinsic
def load_part(typingctx, base, index, count):
    """Vector of the first ``count`` numbers from ``base[index]`` on, and zeros: nothing behind them is read."""
    if not _is_pointer(base):
        raise TypingError("load_part() takes a float pointer, an index and a count")
    vector = Vector(base.dtype)
    kind, places = ir_vector(vector), ir.VectorType(ir.IntType(32), vector.lanes)

    def codegen(context, builder, signature, args):
        counts = ir_splat(builder, places, builder.trunc(args[2], ir.IntType(32)))
        exists = builder.icmp_signed("<", ir.Constant(places, list(range(vector.lanes))), counts)
        address = builder.bitcast(ir_element(builder, base, args[0], args[1]), kind.as_pointer())
        arguments = [address, ir.IntType(32)(ir_align(base.dtype)), exists, ir.Constant(kind, [0.0] * vector.lanes)]
        function_type = ir.FunctionType(kind, [argument.type for argument in arguments])
        name = f"llvm.masked.load.v{vector.lanes}f{vector.dtype.bitwidth}.p0"
        return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), arguments)

    return vector(base, types.intp, types.intp), codegen


@intrinsic
def store(typingctx, base, index, value):
    """Write a vector to ``base[index]`` and on."""

    def codegen(context, builder, signature, args):
        ir_write(builder, args[2], ir_element(builder, base, args[0], args[1]), ir_align(base.dtype))
        return context.get_dummy_value()

    return types.void(base, types.intp, value), codegen


@intrinsic
def copy(typingctx, target, source, count):
    """Copy ``count`` numbers, converted where the dtypes differ. The two do not overlap."""

    def codegen(context, builder, signature, args):
        if target == source:
            cgutils.raw_memcpy(builder, args[0], args[1], args[2], ir_align(target.dtype))
            return context.get_dummy_value()
        with cgutils.for_range(builder, args[2]) as loop:
            number = ir_read(
                builder,
                ir_float(source.dtype),
                ir_element(builder, source, args[1], loop.index),
                ir_align(source.dtype),
            )
            number = context.cast(builder, number, source.dtype, target.dtype)
            ir_write(builder, number, ir_element(builder, target, args[0], loop.index), ir_align(target.dtype))
        return context.get_dummy_value()

    return types.void(target, source, types.intp), codegen


def ir_prefetch(builder, address, write=0):
    """Ask for the cache line of an address, into all levels of the cache."""
    address = builder.bitcast(address, ir.IntType(8).as_pointer())
    kind = ir.FunctionType(ir.VoidType(), [address.type, *[ir.IntType(32)] * 3])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [address, *(ir.IntType(32)(flag) for flag in (write, 3, 1))])


def _prefetch(base, write):
    numbers_of_a_line = CACHE_LINE // ir_align(base.dtype)

    def codegen(context, builder, signature, args):
        numbers, first, count = args
        end = builder.add(first, count)
        with cgutils.for_range_slice(builder, first, end, INT64(numbers_of_a_line), INT64) as (index, _):
            ir_prefetch(builder, ir_element(builder, base, numbers, index), write)
        return context.get_dummy_value()

    return types.void(base, types.intp, types.intp), codegen


@intrinsic
def prefetch(typingctx, base, first, count):
    """Ask for the cache lines of ``count`` numbers from ``base[first]`` on, to be read soon."""
    return _prefetch(base, 0)


@intrinsic
def prefetch_to_write(typingctx, base, first, count):
    """`prefetch` what is to be written too: other cores then give their copies of it up."""
    return _prefetch(base, 1)


# --- vector arithmetic -----------------------------------------------------------------------------------------------


def ir_splat(builder, kind, scalar):
    """A vector of the LLVM type ``kind`` with ``scalar`` in every lane."""
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, ir.IntType(32)(0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), mask)


@intrinsic
def splat(typingctx, like, scalar):
    """Vector of the type of ``like`` (a vector or a pointer) with ``scalar`` in every lane."""
    vector = like if isinstance(like, Vector) else Vector(like.dtype)

    def codegen(context, builder, signature, args):
        return ir_splat(builder, ir_vector(vector), args[1])

    return vector(like, vector.dtype), codegen


def _call(builder, name, vector, args):
    """Call LLVM's ``name`` for a vector type, declared by its mangled name."""
    kind = ir_vector(vector)
    mangled = f"llvm.{name}.v{vector.lanes}f{vector.dtype.bitwidth}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * len(args)), mangled)
    return builder.call(function, args)


def ir_fma(builder, vector, a, b, c):
    """a * b + c of vectors: see `fma`."""
    return _call(builder, "fma" if HAS_FMA else "fmuladd", vector, [a, b, c])


@intrinsic
def fma(typingctx, a, b, c):
    """a * b + c, rounded once (twice on processors without the instruction)."""

    def codegen(context, builder, signature, args):
        return ir_fma(builder, a, *args)

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
def absolute(typingctx, a):
    """``a`` without its signs."""

    def codegen(context, builder, signature, args):
        return _call(builder, "fabs", a, args)

    return a(a), codegen


#: LLVM's name of the instruction that looks float32 numbers up in a table of one register, by the low bits of integers.
_LOOK_UP = {"AVX-512": "llvm.x86.avx512.permvar.sf.512", "AVX2": "llvm.x86.avx2.permps"}.get(INSTRUCTION_SET)

#: Numbers of a table of float32 for `power_of_two`: AVX2's, with AVX-512 too, so that the two give the same bits.
ENTRIES = 8 if _LOOK_UP else 1


def _ir_look_up(context, builder, vector, table, args):
    integers, numbers = args
    numbers = [builder.extract_value(numbers, k) for k in range(table.count)]
    numbers = [context.cast(builder, number, table.dtype, vector.dtype) for number in numbers]
    if table.count == 1:
        return ir_splat(builder, ir_vector(vector), numbers[0])
    register = ir.Constant(ir_vector(vector), ir.Undefined)
    for lane in range(vector.lanes):
        register = builder.insert_element(register, numbers[lane % table.count], ir.IntType(32)(lane))
    kinds = [ir_vector(vector), _ir_int_vector(vector)]
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kinds[0], kinds), _LOOK_UP)
    return builder.call(function, [register, builder.bitcast(integers, kinds[1])])


@intrinsic
def power_of_two(typingctx, shifted, table):
    """2^(n / K) from n + 1.5 * 2^m (m = 23 or 52 mantissa bits), and a table of K numbers, 1 or `ENTRIES` (float32).

    Its number j is 2^(j / K) in which j is taken from the lowest bits of the exponent and the highest of the mantissa:
    there n is added. n from -bias * K to (bias + 1) * K is right, but for subnormal results: the ends give 0 and
    infinity.
    """
    if table.count not in (1, ENTRIES if shifted.dtype == types.float32 else 1):
        raise TypingError(f"power_of_two() takes one number, or {ENTRIES} of float32")
    places = (23 if shifted.dtype == types.float32 else 52) - (table.count.bit_length() - 1)

    def codegen(context, builder, signature, args):
        integers = _ir_int_vector(shifted)
        n = builder.shl(builder.bitcast(args[0], integers), ir.Constant(integers, [places] * shifted.lanes))
        entries = builder.bitcast(_ir_look_up(context, builder, shifted, table, args), integers)
        return builder.bitcast(builder.add(entries, n), args[0].type)

    return shifted(shifted, table), codegen


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
