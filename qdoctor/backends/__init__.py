"""The quantization backends as layers: one file each, loaded by name when it is asked for.

Importing this package imports no torch. ``named("bnb-nf4")`` gives a Kind: whether a given layer
can be replaced, the layer that replaces it, the transformers configuration that says the same;
``qdoctor.backends.replacing.quantize_`` applies one to a model.
"""

from __future__ import annotations

import difflib
import importlib

from qdoctor.backends.kind import BackendUnavailable, Kind, library

__all__ = ["NAMES", "BackendUnavailable", "Kind", "named"]

NAMES: tuple[str, ...] = (
    "half",
    "bnb-int8",
    "bnb-nf4",
    "bnb-fp4",
    "bnb-switchback",
    "qdoctor-switchback",
    "torch-fp8",
    "torchao-int8",
    "torchao-fp8",
    "torchao-int4",
    "torchao-mxfp4",
    "torchao-nvfp4",
)
"""In the order of the table ``backends``; the file of each is named alike, with ``_`` for ``-``."""


def named(name: str) -> Kind:
    """Return the backend of that name (one of NAMES), importing what it stands on.

    Raises BackendUnavailable, saying what is missing and what fixes it; ValueError for a name that
    is none of NAMES.
    """
    if name not in NAMES:
        close = difflib.get_close_matches(str(name), NAMES, n=1, cutoff=0.5)
        meant = f" (did you mean {close[0]!r}?)" if close else ""
        raise ValueError(f"qdoctor knows no backend {name!r}{meant}; it knows {', '.join(NAMES)}")
    torch = library("torch", backend=name, install="python -m pip install torch")
    try:
        module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    except AttributeError as error:  # each asks torch for what it needs as it is imported
        raise BackendUnavailable(
            f"{name}: torch {torch.__version__} lacks what it needs ({error}): "
            "`python -m pip install -U torch`"
        ) from error
    kind: Kind = module.kind()
    return kind
