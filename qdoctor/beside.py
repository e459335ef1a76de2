"""Imports what will be needed beside what is waited for: a child's answer takes as long."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def importing(module: str) -> Iterator[None]:
    """Import a module in a thread; where that fails, its first user will say so.

    Where no thread can be had (ulimit -u), its first user imports it.
    """

    def load() -> None:
        with suppress(Exception):
            import_module(module)

    loader = Thread(target=load, daemon=True)
    with suppress(RuntimeError):
        loader.start()
    yield
    if loader.ident is not None:
        loader.join()
