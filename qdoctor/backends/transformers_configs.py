"""transformers' configuration classes, imported when one is asked for."""

# ruff: noqa: ANN401 - transformers is untyped here

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdoctor.backends.kind import library

if TYPE_CHECKING:
    from collections.abc import Sequence

OUTPUT_LAYER = "lm_head"


def bits_and_bytes(backend: str, skip: Sequence[str], **settings: Any) -> Any:
    """Return ``BitsAndBytesConfig(**settings)`` that leaves the modules of ``skip`` alone.

    Without a list transformers leaves out the output layer by itself; with one it leaves out only
    what is listed, so ``lm_head`` is added. Raises BackendUnavailable where transformers is missing
    or refuses the settings.
    """
    module = library("transformers", backend=backend, install="python -m pip install transformers")
    return module.BitsAndBytesConfig(**settings, llm_int8_skip_modules=skipped(skip))


def skipped(skip: Sequence[str]) -> list[str] | None:
    """Return the list that transformers wants: None for nothing, else with the output layer."""
    if not skip:
        return None
    return list(dict.fromkeys([*([skip] if isinstance(skip, str) else skip), OUTPUT_LAYER]))
