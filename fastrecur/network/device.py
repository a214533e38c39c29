"""Where a network computes: what ``device`` may be, and what it comes to on this machine."""

from fastrecur.network.validation import check_choice

DEVICES = ("cpu", "cuda", "auto")


def resolve_device(device: str) -> str:
    """What ``device`` comes to, "cpu" or "cuda": "auto" is the GPU where there is one.

    Parameters
    ----------
    device : {"cpu", "cuda", "auto"}

    Raises
    ------
    ValueError
        If it is something else.
    RuntimeError
        If it is "cuda" and cannot be: the message says what is missing.
    """
    check_choice("device", device, DEVICES)
    if device == "cpu":
        return device
    from fastrecur.kernels.cuda import runtime  # which imports CUDA

    if device == "cuda":
        runtime.require()
        return device
    return "cuda" if runtime.available() else "cpu"
