"""exp, sigmoid and tanh of a vector, from one reduction and one polynomial.

e^x = 2^n e^r with n = round(x / ln 2) and |r| <= ln(2) / 2 (Cody and Waite, 1980: ln 2 in two parts, so that
r is exact to the last bit), and e^r = 1 + r + r^2 q(r), where q was fitted for the least largest relative error
(3.3e-9 for float32, 4.1e-18 for float64). n is added to 1.5 * 2^m + bias, so that its low bits, shifted, are 2^n:
no conversion to an integer, and NaN stays NaN.

=========  ======================  ======================================================
function   largest error (ulp)     where
=========  ======================  ======================================================
exp        1.5                     2^-126 .. 2^127.5 (float32), 2^-1022 .. 2^1023.5 (float64)
sigmoid    2.5                     results of 2^-126 (2^-1022) and more; smaller ones may be 0
tanh       3.0                     everywhere
=========  ======================  ======================================================

exp overflows to infinity half a binade early and flushes results below 2^-126.5 (2^-1022.5) to 0; sigmoid and tanh
are exact at 0, at saturation and for infinities, and give NaN for NaN. The tests measure these bounds.
"""

from numba.extending import overload

from fastrecur.kernels.compile import inline
from fastrecur.kernels.cpu.simd import copysign, fma, power_of_two, select_less, splat


@inline
def clamp(x, low, high):
    """``x`` between two numbers; NaN stays NaN."""
    low, high = splat(x, low), splat(x, high)
    x = select_less(x, low, low, x)
    return select_less(high, x, high, x)


def exp_parts(x, factor):
    """(r, q, 2^n) for a vector that is in range: e^(factor x) = 2^n e^r, e^r = 1 + r + r^2 q."""
    raise NotImplementedError("only within compiled kernels")


@inline
def exp_parts_float32(x, factor):
    """`exp_parts` in single precision."""
    magic = splat(x, 12583039.0)  # 1.5 * 2^23 + 127
    shifted = fma(x, splat(x, factor * 1.4426950408889634), magic)
    n = shifted - magic
    r = fma(n, splat(x, -0.693359375), splat(x, factor) * x)
    r = fma(n, splat(x, 2.12194440e-4), r)
    q = fma(splat(x, 0.001381360849844770411), r, splat(x, 0.0083693978199267080978))
    q = fma(q, r, splat(x, 0.041668450493268166618))
    q = fma(q, r, splat(x, 0.16666514978688947061))
    q = fma(q, r, splat(x, 0.49999993054003021926))
    return r, q, power_of_two(shifted)


@inline
def exp_parts_float64(x, factor):
    """`exp_parts` in double precision."""
    magic = splat(x, 6755399441056767.0)  # 1.5 * 2^52 + 1023
    shifted = fma(x, splat(x, factor * 1.4426950408889634), magic)
    n = shifted - magic
    r = fma(n, splat(x, -0.6931471803691238), splat(x, factor) * x)
    r = fma(n, splat(x, -1.9082149292705877e-10), r)
    q = fma(splat(x, 2.4999634427480511507e-8), r, splat(x, 2.7631672731590780259e-7))
    q = fma(q, r, splat(x, 2.7557595054392216809e-6))
    q = fma(q, r, splat(x, 0.000024801489388303913326))
    q = fma(q, r, splat(x, 0.00019841269488669397686))
    q = fma(q, r, splat(x, 0.0013888888946891011865))
    q = fma(q, r, splat(x, 0.0083333333335064456755))
    q = fma(q, r, splat(x, 0.041666666666519237208))
    q = fma(q, r, splat(x, 0.16666666666666388265))
    q = fma(q, r, splat(x, 0.50000000000000116934))
    return r, q, power_of_two(shifted)


@overload(exp_parts)
def _exp_parts(x, factor):
    if x.dtype.bitwidth == 32:
        return lambda x, factor: exp_parts_float32(x, factor)
    return lambda x, factor: exp_parts_float64(x, factor)


def _limits(x):
    """Arguments (lowest, highest) of exp, at which 2^n is 0 and infinity, and from which on tanh is 1."""
    raise NotImplementedError("only within compiled kernels")


@overload(_limits)
def _limits_of(x):
    if x.dtype.bitwidth == 32:
        return lambda x: (-88.0, 88.73, 10.0)
    return lambda x: (-709.0, 709.79, 20.0)


@inline
def _exp_of_remainder(r, q):
    one = splat(r, 1.0)
    return fma(fma(q, r, one), r, one)


@inline
def exp(x):
    """e^x."""
    low, high, _ = _limits(x)
    r, q, scale = exp_parts(clamp(x, low, high), 1.0)
    return scale * _exp_of_remainder(r, q)


@inline
def sigmoid(x):
    """1 / (1 + e^-x)."""
    low, high, _ = _limits(x)
    r, q, scale = exp_parts(clamp(x, -high, -low), -1.0)
    one = splat(x, 1.0)
    return one / fma(scale, _exp_of_remainder(r, q), one)


@inline
def tanh(x):
    """(e^2x - 1) / (e^2x + 1), with e^2x - 1 formed without cancellation."""
    _, _, saturated = _limits(x)
    y = clamp(x, -saturated, saturated)
    r, q, scale = exp_parts(y, 2.0)
    e = fma(scale, fma(r * r, q, r), scale - splat(x, 1.0))
    return copysign(e / (e + splat(x, 2.0)), x)
