"""glibc-too-old: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "glibc-too-old"


def test_fires_on_an_old_system(ask: Ask) -> None:
    found = ask("h100", host={"libc": "glibc 2.17"})[NAME]
    assert found.severity == "error"
    assert found.fixes[-1].action == "upgrade-os"


def test_is_silent_on_a_new_one(ask: Ask) -> None:
    assert NAME not in ask("h100")


def test_is_silent_where_the_libc_is_unknown(ask: Ask) -> None:
    assert NAME not in ask("h100", host={"libc": None})


def test_a_text_accuses_where_the_libc_is_unknown(ask: Ask) -> None:
    text = "ImportError: /lib/libc.so.6: version `GLIBC_2.38' not found (required by libtriton.so)"
    found = ask("h100", error=text, host={"libc": None})[NAME]
    assert found.explains_error
    assert "GLIBC_2.38" in found.title
