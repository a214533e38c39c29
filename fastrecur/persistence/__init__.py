"""Models in files: safetensors with the weights under PyTorch's names, and JSON with everything else. No pickle.

The metadata of a file has one entry, "fastrecur", a JSON object with ``format_version``, ``fastrecur_version``, what
`fastrecur.persistence.documents` says of the model, and ``sha256``, the digest of all the rest.
"""

from fastrecur.persistence.documents import load, save

__all__ = ["load", "save"]
