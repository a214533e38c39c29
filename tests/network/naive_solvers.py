"""The solvers in NumPy, one step on any array: (w, g, decay, t, *moments) to (w, *moments). t counts from 1."""

import numpy as np

RATE = 0.05

#: Moments of each solver, by the names of its state.
MOMENTS = {"adam": ("first", "second"), "adamw": ("first", "second"), "rmsprop": ("square",), "sgd": ("velocity",)}


def clipped(gradients, max_norm):
    """The global norm, and the gradients as PyTorch clips them."""
    norm = np.sqrt(sum((gradient**2).sum() for gradient in gradients.values()))
    scale = min(1.0, max_norm / (norm + 1e-6))
    return norm, {name: scale * gradient for name, gradient in gradients.items()}


def adam(w, g, decay, t, m, v):
    """Algorithm 1 of Kingma and Ba (2015)."""
    g = g + decay * w
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    m_hat, v_hat = m / (1.0 - 0.9**t), v / (1.0 - 0.999**t)
    return w - RATE * m_hat / (np.sqrt(v_hat) + 1e-8), m, v


def adamw(w, g, decay, t, m, v):
    """Algorithm 2 of Loshchilov and Hutter (2019), the decay before the step and times the rate, as PyTorch has it."""
    return adam(w - RATE * decay * w, g, 0.0, t, m, v)


def rmsprop(w, g, decay, t, square):
    """Tieleman and Hinton (2012) with PyTorch's constants."""
    g = g + decay * w
    square = 0.99 * square + 0.01 * g**2
    return w - RATE * g / (np.sqrt(square) + 1e-8), square


def sgd(w, g, decay, t, velocity):
    """Nesterov's momentum as PyTorch writes it: the step looks ahead along the new velocity."""
    g = g + decay * w
    velocity = 0.9 * velocity + g
    return w - RATE * (g + 0.9 * velocity), velocity


NAIVE = {"adam": adam, "adamw": adamw, "rmsprop": rmsprop, "sgd": sgd}
