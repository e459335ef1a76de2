"""native-library-damaged: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "native-library-damaged"
FILE = "/v/lib/python3.11/site-packages/triton/_C/libtriton.so"
TEXT = f"ImportError: {FILE}: file too short"


def test_fires_on_the_loaders_words(ask: Ask) -> None:
    found = ask("h100", error=TEXT, packages={"triton": "3.6.0"})[NAME]
    assert found.explains_error
    assert found.title == "libtriton.so is damaged"
    told = 'python -m pip install --force-reinstall --no-deps "triton==3.6.0"'
    assert found.fixes[0].command == told


def test_is_silent_where_the_file_was_read_and_is_whole(ask: Ask) -> None:
    native = [{"package": "triton", "file": "libtriton.so", "needs": ["libc.so.6"]}]
    assert NAME not in ask("h100", error=TEXT, native=native)


def test_is_silent_without_such_a_text(ask: Ask) -> None:
    assert NAME not in ask("h100")


def test_names_no_package_where_the_file_lies_elsewhere(ask: Ask) -> None:
    text = "OSError: /opt/mine/libkernel.so: invalid ELF header"
    assert ask("h100", error=text, native=None)[NAME].fixes == []
