"""exp, sigmoid and tanh of a vector.

exp
    e^x = 2^n e^r with n = round(x / ln 2) and |r| <= ln(2) / 2 (Cody and Waite, 1980: ln 2 in two parts, so that
    r is exact to the last bit), and e^r = 1 + r + r^2 q(r), where q was fitted for the least largest relative error
    (3.3e-9 for float32, 4.1e-18 for float64). n is added to 1.5 * 2^m + bias, so that its low bits, shifted, are 2^n:
    no conversion to an integer, and NaN stays NaN.
sigmoid
    1 / (1 + 2^t) with t = -x log2(e), rounded once, and 2^t = 2^n p(r), n = floor(t), where p(0) = 1 (fitted to 8.2e-8
    and 3.2e-18). With AVX-512 one instruction gives r and one multiplies by 2^n, at the ends and for infinities too.
tanh
    In single precision x P(x^2) / Q(x^2), of degrees 4 and 4, fitted (2e-8) up to where tanh is 1 but for its last
    bits, with positive coefficients only: nothing cancels. In double precision (e^2x - 1) / (e^2x + 1), with e^2x - 1
    formed without cancellation.

=========  ======================  ======================================================
function   largest error (ulp)     where
=========  ======================  ======================================================
exp        1.5                     2^-126 .. 2^127.5 (float32), 2^-1022 .. 2^1023.5 (float64)
sigmoid    3 + 1.25 max(-x, 0)     results of 2^-126 (2^-1022) and more; smaller ones may be 0
tanh       6.0; 3.0 (float64)      everywhere; 7.0 without fused multiply-adds (float32)
=========  ======================  ======================================================

exp overflows to infinity half a binade early and flushes results below 2^-126.5 (2^-1022.5) to 0; sigmoid and tanh
are exact at 0, at saturation and for infinities, and give NaN for NaN; sigmoid is nowhere more than 1e-7 (2e-16) away
from the exact result. The tests measure these bounds.
"""

from numba.extending import overload

from fastrecur.kernels.compile import inline
from fastrecur.kernels.cpu.simd import copysign, fma, fraction, power_of_two, scale, select_less, splat
from fastrecur.kernels.cpu.target import HAS_FMA, INSTRUCTION_SET

LOG2_E = 1.4426950408889634


@inline
def clamp(x, low, high):
    """``x`` between two numbers; NaN stays NaN."""
    low, high = splat(x, low), splat(x, high)
    x = select_less(x, low, low, x)
    return select_less(high, x, high, x)


def _by_dtype(function, float32, float64):
    """Let ``function`` be the one or the other for vectors of that dtype."""

    def choose(x):
        implementation = float32 if x.dtype.bitwidth == 32 else float64
        return lambda x: implementation(x)

    overload(function)(choose)


# --- exp -------------------------------------------------------------------------------------------------------------


def exp_parts(x):
    """(e^r - 1, 2^n) for a vector that is in range: e^x = 2^n (1 + (e^r - 1))."""
    raise NotImplementedError("only within compiled kernels")


@inline
def _exp_parts_float32(x):
    magic = splat(x, 12583039.0)  # 1.5 * 2^23 + 127
    shifted = fma(x, splat(x, LOG2_E), magic)
    n = shifted - magic
    r = fma(n, splat(x, -0.693359375), x)
    r = fma(n, splat(x, 2.12194440e-4), r)
    q = fma(splat(x, 0.001381360849844770411), r, splat(x, 0.0083693978199267080978))
    q = fma(q, r, splat(x, 0.041668450493268166618))
    q = fma(q, r, splat(x, 0.16666514978688947061))
    q = fma(q, r, splat(x, 0.49999993054003021926))
    return fma(r * r, q, r), power_of_two(shifted)


@inline
def _exp_parts_float64(x):
    magic = splat(x, 6755399441056767.0)  # 1.5 * 2^52 + 1023
    shifted = fma(x, splat(x, LOG2_E), magic)
    n = shifted - magic
    r = fma(n, splat(x, -0.6931471803691238), x)
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
    return fma(r * r, q, r), power_of_two(shifted)


_by_dtype(exp_parts, _exp_parts_float32, _exp_parts_float64)


def _limits(x):
    """Arguments (lowest, highest) at which 2^n is 0 and infinity."""
    raise NotImplementedError("only within compiled kernels")


_by_dtype(_limits, inline(lambda x: (-88.0, 88.73)), inline(lambda x: (-709.0, 709.79)))


@inline
def exp(x):
    """e^x."""
    low, high = _limits(x)
    p, power = exp_parts(clamp(x, low, high))
    return power * (splat(x, 1.0) + p)


# --- sigmoid ---------------------------------------------------------------------------------------------------------


def _exp2_of_fraction(r):
    """2^r for r from 0 to 1."""
    raise NotImplementedError("only within compiled kernels")


@inline
def _exp2_of_fraction_float32(r):
    p = fma(splat(r, 0.0018671302399968692), r, splat(r, 0.0090170300481659359))
    p = fma(p, r, splat(r, 0.055799913183840396))
    p = fma(p, r, splat(r, 0.24016445019883809))
    p = fma(p, r, splat(r, 0.69315131178666430))
    return fma(p, r, splat(r, 1.0))


@inline
def _exp2_of_fraction_float64(r):
    p = fma(splat(r, 6.2634646280886274e-10), r, splat(r, 6.5595301931503004e-9))
    p = fma(p, r, splat(r, 1.0253212219093686e-7))
    p = fma(p, r, splat(r, 1.3208367319526270e-6))
    p = fma(p, r, splat(r, 0.000015253175052870720))
    p = fma(p, r, splat(r, 0.00015403512309781895))
    p = fma(p, r, splat(r, 0.0013333558629561105))
    p = fma(p, r, splat(r, 0.0096181290995509271))
    p = fma(p, r, splat(r, 0.055504108665602235))
    p = fma(p, r, splat(r, 0.24022650695906330))
    p = fma(p, r, splat(r, 0.69314718055994593))
    return fma(p, r, splat(r, 1.0))


_by_dtype(_exp2_of_fraction, _exp2_of_fraction_float32, _exp2_of_fraction_float64)

if INSTRUCTION_SET == "AVX-512":

    @inline
    def _exp2(x):
        """2^x."""
        return scale(_exp2_of_fraction(fraction(x)), x)

else:

    def _exponents(x):
        """Exponents at which 2^n is 0 and infinity, half a step inside, and the number of `power_of_two`."""
        raise NotImplementedError("only within compiled kernels")

    _by_dtype(
        _exponents,
        inline(lambda x: (-126.9, 128.4, 12583039.0)),
        inline(lambda x: (-1022.9, 1024.4, 6755399441056767.0)),
    )

    @inline
    def _exp2(x):
        """2^x."""
        low, high, magic = _exponents(x)
        x = clamp(x, low, high)
        shifted = (x - splat(x, 0.49999)) + splat(x, magic)  # of 0, n is 0
        return _exp2_of_fraction(x - (shifted - splat(x, magic))) * power_of_two(shifted)


@inline
def sigmoid(x):
    """1 / (1 + e^-x)."""
    one = splat(x, 1.0)
    return one / (one + _exp2(x * splat(x, -LOG2_E)))


# --- tanh ------------------------------------------------------------------------------------------------------------


def tanh(x):
    """(e^x - e^-x) / (e^x + e^-x)."""
    raise NotImplementedError("only within compiled kernels")


#: From here on tanh is 1 in single precision. With fused multiply-adds this is the last number before the first whose
#: quotient rounds to more than 1, and its own is 1; without, quotients are held to 1.
_SATURATED = 8.20936489 if HAS_FMA else 9.6


@inline
def _tanh_float32(x):
    x = clamp(x, -_SATURATED, _SATURATED)
    z = x * x
    p = fma(splat(x, 1.45211931e-08), z, splat(x, 2.14272277e-05))
    p = fma(p, z, splat(x, 0.00354459439))
    p = fma(fma(p, z, splat(x, 0.134221196)), x * z, x)
    q = fma(splat(x, 8.24636402e-07), z, splat(x, 0.000336622761))
    q = fma(q, z, splat(x, 0.0260628685))
    q = fma(q, z, splat(x, 0.46755445))
    q = fma(q, z, splat(x, 1.0))
    t = p / q
    return t if HAS_FMA else clamp(t, -1.0, 1.0)


@inline
def _tanh_float64(x):
    one, y = splat(x, 1.0), clamp(x, -20.0, 20.0)
    p, power = exp_parts(y + y)
    e = fma(power, p, power - one)
    return copysign(e / (e + one + one), x)


_by_dtype(tanh, _tanh_float32, _tanh_float64)
