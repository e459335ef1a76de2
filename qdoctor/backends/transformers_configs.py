"""transformers' configuration classes, imported when one is asked for."""

# ruff: noqa: ANN401 - transformers is untyped here

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdoctor.backends.kind import library
from qdoctor.backends.names import as_regex, is_glob, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

OUTPUT_LAYER = "lm_head"


def bits_and_bytes(backend: str, skip: Sequence[str], **settings: Any) -> Any:
    """Return ``BitsAndBytesConfig(**settings)`` that leaves the modules of ``skip`` alone.

    Without a list transformers leaves out the output layer by itself; with one it leaves out only
    what is listed, so ``lm_head`` is added. Raises BackendUnavailable where transformers is missing
    or refuses the settings.
    """
    names = skipped(skip)
    module = library("transformers", backend=backend, install="python -m pip install transformers")
    given = None if names is None else _for_bits_and_bytes(names)
    return module.BitsAndBytesConfig(**settings, llm_int8_skip_modules=given)


def skipped(skip: Sequence[str] | None) -> list[str] | None:
    """Return the names to leave alone: None for nothing, else with the output layer.

    Raises TypeError for what is no list of names.
    """
    names = listed(skip, "skip", "transformers_config")
    return list(dict.fromkeys([*names, OUTPUT_LAYER])) if names else None


def _for_bits_and_bytes(names: Sequence[str]) -> list[str]:
    """Add to the names regular expressions that say the same.

    Older releases compare whole names alone; 5.x takes ends of names and regular expressions
    from the name's start, so that a name in the middle would mean nothing, and a glob an error.
    """
    plain = [name for name in names if not is_glob(name)]
    return [*plain, *(as_regex(name) for name in names if name != OUTPUT_LAYER)]
