"""The equations of the cells, of one unit of one row: those of `fastrecur.kernels.reference`.

The kernels that keep a sequence in one block and those that are launched for each step compile them in.
"""

import math

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


def rnn(layout):
    """(state, gradient): h from its pre-activation, and dz from h and dh."""
    zero, one = layout.real(0), layout.real(1)
    _, tanh = activations(layout)

    @inline
    def state(z, relu):
        if relu:
            return zero if z < zero else z  # NaN stays NaN
        return tanh(z)

    @inline
    def gradient(h, dh, relu):
        if relu:
            return dh if h > zero else zero * dh
        return dh * (one - h * h)

    return state, gradient


def lstm(layout):
    """(state, gradient): c, h from the gates and c before; di, df, dg, do and dc of the step before."""
    one = layout.real(1)
    _, tanh = activations(layout)

    @inline
    def state(i, f, g, o, c_before):
        c = f * c_before + i * g
        return c, o * tanh(c)

    @inline
    def gradient(i, f, g, o, c_before, c, dh, dc):
        tanh_c = tanh(c)
        dc = dc + dh * o * (one - tanh_c * tanh_c)
        di = dc * g * i * (one - i)
        df = dc * c_before * f * (one - f)
        dg = dc * i * (one - g * g)
        do = dh * tanh_c * o * (one - o)
        return di, df, dg, do, dc * f

    return state, gradient


def gru(layout):
    """(state, gradient): n, h from r, z, both parts of n and h before; dr, dz, dn, dq, and what of dh passes by."""
    one = layout.real(1)
    _, tanh = activations(layout)

    @inline
    def state(r, z, x_part, q, h_before):
        n = tanh(x_part + r * q)
        return n, (one - z) * n + z * h_before

    @inline
    def gradient(r, z, n, q, h_before, dh):
        dn = dh * (one - z) * (one - n * n)
        return dn * q * r * (one - r), dh * (h_before - n) * z * (one - z), dn, dn * r, dh * z

    return state, gradient
