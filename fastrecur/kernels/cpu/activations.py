"""exp, sigmoid and tanh of a vector.

e^x = 2^(n / K) e^r with n = round(K x / ln 2) and |r| <= ln(2) / 2 K (Cody and Waite, 1980: ln(2) / K in two parts, so
that r is exact to the last bit), and e^r = 1 + r + r^2 q(r). n is added to 1.5 * 2^m: no conversion to an integer, and
NaN stays NaN. K is 1 or, where one instruction looks numbers up in a register, the entries of such a table of
2^(j / K), j < K (Tang, 1989), with a shorter q: so sigmoid takes a tenth less time.

tanh of float64 follows from the same e^r. That of float32 needs no exponential: in tanh(x) = 2 s / (1 + s^2) an error
of s = tanh(x / 2) counts the less, the nearer the result is to 1: for s a quotient of short polynomials will do.

=========  ======================  ======================================================
function   largest error (ulp)     where
=========  ======================  ======================================================
exp        1.5                     2^-126 .. 2^127.5 (float32), 2^-1022 .. 2^1023.5 (float64)
sigmoid    2.5                     results of 2^-126 (2^-1022) and more; smaller ones may be 0
tanh       2.5, 3.0                everywhere, float32 and float64
=========  ======================  ======================================================

exp overflows to infinity half a binade early and flushes results below 2^-126.5 (2^-1022.5) to 0; sigmoid and tanh
are exact at 0, at saturation and for infinities, and give NaN for NaN. The tests measure these bounds.
"""

import math
from typing import NamedTuple

import numpy as np
from numba.extending import overload

from fastrecur.kernels.compile import inline
from fastrecur.kernels.cpu.simd import ENTRIES, absolute, copysign, fma, power_of_two, select_less, splat


class Reduction(NamedTuple):
    """How e^x is taken apart.

    ``magic``: 1.5 * 2^m; ``ln2``: two parts that add up to ln(2) / K; ``q``: coefficients, the constant first, fitted
    for the least largest error; ``powers``: 2^(j / K) in the dtype, K of them as `power_of_two` takes them.
    """

    magic: float
    ln2: tuple
    q: tuple
    powers: tuple = (1.0,)


#: For any processor. Errors of e^r: 3.3e-9 and 4.1e-18.
_FLOAT32 = Reduction(
    magic=1.5 * 2.0**23,
    ln2=(0.693359375, -2.12194440e-4),
    q=(0.49999993054003021926, 0.16666514978688947061, 0.041668450493268166618, 0.0083693978199267080978,
       0.001381360849844770411),
)  # fmt: skip
_FLOAT64 = Reduction(
    magic=1.5 * 2.0**52,
    ln2=(0.6931471803691238, 1.9082149292705877e-10),
    q=(0.50000000000000116934, 0.16666666666666388265, 0.041666666666519237208, 0.0083333333335064456755,
       0.0013888888946891011865, 0.00019841269488669397686, 0.000024801489388303913326, 2.7557595054392216809e-6,
       2.7631672731590780259e-7, 2.4999634442547511507e-8),
)  # fmt: skip


def _with_table(q):
    """`Reduction` of float32 with K = `ENTRIES`."""
    j, ln2 = np.arange(ENTRIES, dtype=np.int32), math.log(2) / ENTRIES
    high = float(np.float32(ln2))
    powers = np.exp2(j / ENTRIES).astype(np.float32)
    without_j = (powers.view(np.int32) - j * (2**23 // ENTRIES)).view(np.float32)
    return Reduction(_FLOAT32.magic, (high, ln2 - high), q, tuple(without_j.tolist()))


#: Of sigmoid in float32. Error of e^r: 2.2e-10.
_SIGMOID = _FLOAT32 if ENTRIES == 1 else _with_table((0.4999999979734176, 0.16667962356648955, 0.04167035320330787))

#: tanh(x / 2) = x (1 + u p(u)) / 2 (1 + u q(u)), u = x^2: the constants first, fitted together for the least largest
#: error of tanh(x) in float32, 7.6e-9, up to where it is 1.
_P = 0.02977503770997079, 0.00011428050727796467
_Q = 0.11310833628457043, 0.0012066783519962788, 1.2295607158918297e-06


def _by_dtype(of_float32, of_float64):
    """Function of a vector that returns the constant of its dtype."""

    def choose(x):
        raise NotImplementedError("only within compiled kernels")

    @overload(choose)
    def _chosen(x):
        constant = of_float32 if x.dtype.bitwidth == 32 else of_float64
        return lambda x: constant

    return choose


_of_exp = _by_dtype(_FLOAT32, _FLOAT64)
_of_sigmoid = _by_dtype(_SIGMOID, _FLOAT64)

#: Arguments (lowest, highest) of exp, at which 2^n is 0 and infinity, and from which on tanh is 1.
_limits = _by_dtype((-88.0, 88.73, 9.02), (-709.0, 709.79, 20.0))


@inline
def clamp(x, low, high):
    """``x`` between two numbers; NaN stays NaN."""
    low, high = splat(x, low), splat(x, high)
    x = select_less(x, low, low, x)
    return select_less(high, x, high, x)


@inline
def _polynomial(x, coefficients):
    """c_0 + c_1 x + c_2 x^2 + ..."""
    value = splat(x, coefficients[-1])
    for k in range(len(coefficients) - 2, -1, -1):
        value = fma(value, x, splat(x, coefficients[k]))
    return value


@inline
def exp_parts(x, factor, reduction):
    """(r, q, s) for a vector that is in range: e^(factor x) = s e^r, e^r = 1 + r + r^2 q."""
    magic = splat(x, reduction.magic)
    shifted = fma(x, splat(x, factor * len(reduction.powers) / 0.6931471805599453), magic)
    n, r = shifted - magic, splat(x, factor) * x
    for part in reduction.ln2:
        r = fma(n, splat(x, -part), r)
    return r, _polynomial(r, reduction.q), power_of_two(shifted, reduction.powers)


@inline
def _exp_of_remainder(r, q):
    one = splat(r, 1.0)
    return fma(fma(q, r, one), r, one)


@inline
def exp(x):
    """e^x."""
    low, high, _ = _limits(x)
    r, q, scale = exp_parts(clamp(x, low, high), 1.0, _of_exp(x))
    return scale * _exp_of_remainder(r, q)


@inline
def sigmoid(x):
    """1 / (1 + e^-x)."""
    low, high, _ = _limits(x)
    r, q, scale = exp_parts(clamp(x, -high, -low), -1.0, _of_sigmoid(x))
    one = splat(x, 1.0)
    return one / fma(scale, _exp_of_remainder(r, q), one)


@inline
def _tanh_of_float64(y):
    """(e^2y - 1) / (e^2y + 1), and e^2y - 1 formed without cancellation."""
    r, q, scale = exp_parts(y, 2.0, _FLOAT64)
    e = fma(scale, fma(r * r, q, r), scale - splat(y, 1.0))
    return e / (e + splat(y, 2.0))


@inline
def _tanh_of_float32(y):
    """2 n d / (n^2 + d^2) for tanh(y / 2) = n / d, with n = y (1 + a) / 2 and d = 1 + b.

    n^2 + d^2 = 2 n d + (n - d)^2 gives no more than 1, and nothing is added to a 1 before the end: 2 n d is formed as
    y (1 + (a b + (a + b))), and (n - d)^2 as 1 + c (c + 2) with c = b - n.
    """
    u = y * y
    a, b = u * _polynomial(u, _P), u * _polynomial(u, _Q)
    c = fma(fma(y, a, y), splat(y, -0.5), b)
    product = fma(y, fma(a, b, a + b), y)
    return product / (splat(y, 1.0) + fma(c, c + splat(y, 2.0), product))


def _tanh_of_positive(y):
    raise NotImplementedError("only within compiled kernels")


@overload(_tanh_of_positive)
def _tanh_by_dtype(y):
    function = _tanh_of_float32 if y.dtype.bitwidth == 32 else _tanh_of_float64
    return lambda y: function(y)


@inline
def tanh(x):
    """tanh of |x|, up to where it is 1, with the sign of x."""
    _, _, saturated = _limits(x)
    end, y = splat(x, saturated), absolute(x)
    return copysign(_tanh_of_positive(select_less(end, y, end, y)), x)
