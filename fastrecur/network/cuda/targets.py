"""Targets on the device, and the losses that hold outputs against them."""

import numpy as np

from fastrecur.kernels.cuda import losses, runtime

_LOSSES = {
    "cross_entropy": losses.cross_entropy,
    "squared_error": losses.squared_error,
    "pinball": losses.pinball,
}


class DeviceTargets:
    """`fastrecur.network.gradient.Targets` on the device.

    Parameters
    ----------
    targets : Targets
    dtype : dtype
        Of the outputs.
    log : Log
        Receives the losses.
    buffers : Buffers
    """

    def __init__(self, targets, dtype, log, buffers):
        self._log, self._buffers, self._dtype = log, buffers, dtype
        loss, values, weights = targets
        if loss == "cross_entropy":
            given = [runtime.upload(values, np.int32)]
        elif loss == "squared_error":
            given = [runtime.upload(values, dtype)]
        else:
            given = [runtime.upload(values.values, dtype), runtime.to_device(np.asarray(values.levels, np.float64))]
        self._kernel = _LOSSES[loss]
        self._given = *given, runtime.upload(weights, np.float64)

    def gradient(self, z, rows, scale):
        """Turn the outputs ``z`` (M, K) into the gradient of `Head.gradient`'s loss; returns its place in the log.

        Parameters
        ----------
        z : device array of shape (M, K)
        rows : int32 device array of shape (M,)
            Which targets and weights they belong to.
        scale : float
        """
        n_rows, n_outputs = z.shape
        of_rows = self._buffers.take("losses", n_rows, dtype=np.float64)
        layout = losses.loss_layout(n_outputs, self._dtype)
        self._kernel.launch(layout, n_rows, z, rows, *self._given, float(scale), of_rows)
        place, place_among_all = self._log.place()
        losses.add_up(of_rows, n_rows, self._log.numbers, place)
        return place_among_all
