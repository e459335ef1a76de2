"""Files of kept answers, without the processes around them."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdoctor.choosing import cache_reading, cache_writing, notice
from qdoctor.choosing.cache_reading import Kept

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _says_again() -> Iterator[None]:
    notice.forget()
    yield
    notice.forget()


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"QDOCTOR_CACHE_DIR": str(tmp_path / "cache")}


def keep(environ: dict[str, str], text: str, kept: Kept, *, replace: bool = False) -> str:
    path = cache_reading.place(text, environ)
    cache_writing.write(path, text, kept, environ, replace=replace)
    return path


def test_what_is_kept_is_read_whole(environ: dict[str, str]) -> None:
    path = keep(environ, "key\nof all\n", Kept("bnb-nf4", b'{"a": 1}\n', until=0.0, budget=2.5))
    found = cache_reading.read(path, "key\nof all\n")
    assert found is not None
    assert (found.selected, found.body, found.budget) == ("bnb-nf4", b'{"a": 1}\n', 2.5)
    nothing = keep(environ, "other", Kept(None, b"{}"))
    found = cache_reading.read(nothing, "other")
    assert found is not None
    assert found.selected is None


def test_a_budget_of_many_digits_serves_the_same_budget(environ: dict[str, str]) -> None:
    budget = 1.23456149  # six digits of it are less
    found = cache_reading.read(keep(environ, "key", Kept("half", b"{}", budget=budget)), "key")
    assert found is not None
    assert found.serves(budget)


def test_a_key_that_only_shares_the_file_is_another_one(environ: dict[str, str]) -> None:
    path = keep(environ, "key", Kept("half", b"{}"))
    assert cache_reading.read(path, "kez") is None
    assert cache_reading.read(path, "key") is not None


def test_the_first_answer_stays_unless_it_is_replaced(environ: dict[str, str]) -> None:
    keep(environ, "key", Kept("half", b"{}"))
    path = keep(environ, "key", Kept("bnb-nf4", b"{}"))
    assert (found := cache_reading.read(path, "key")) is not None
    assert found.selected == "half"
    keep(environ, "key", Kept("bnb-nf4", b"{}"), replace=True)
    assert (found := cache_reading.read(path, "key")) is not None
    assert found.selected == "bnb-nf4"


def test_a_file_system_without_links_keeps_the_last(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    path = Path(keep(environ, "key", Kept("half", b"{}")))
    assert cache_reading.read(str(path), "key") is not None
    assert list(path.parent.iterdir()) == [path]


def stale(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Let so many attempts to open a file fail as on NFS, where another host has replaced it."""
    real, left = os.open, [times]

    def open_(path: Any, *rest: Any, **more: Any) -> int:  # noqa: ANN401 - os.open's
        if left[0]:
            left[0] -= 1
            raise OSError(errno.ESTALE, "Stale file handle", path)
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", open_)


@pytest.mark.skipif(not hasattr(errno, "ESTALE"), reason="no such error on this platform")
def test_a_file_that_another_host_replaces_meanwhile_is_read_again(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = keep(environ, "key", Kept("half", b"{}"))
    with monkeypatch.context() as patch:
        stale(patch, 1)
        found = cache_reading.read(path, "key")
    assert found is not None
    assert found.selected == "half"
    stale(monkeypatch, 9)
    with pytest.warns(notice.SelectionWarning, match="Stale file"):
        assert cache_reading.read(path, "key") is None


def test_what_holds_for_a_while_holds_no_longer() -> None:
    now = time.time()
    assert Kept("half", b"").serves(10)
    assert Kept("half", b"", until=now + 60).serves(10)
    assert not Kept("half", b"", until=now - 1).serves(10)
    assert not Kept("half", b"", until=now + 10**7).serves(10)  # a clock that was wrong
    assert Kept("half", b"", budget=10).serves(10)
    assert not Kept("half", b"", budget=10).serves(11)


def test_paths_that_are_no_text_can_be_in_a_key(environ: dict[str, str]) -> None:
    text = "python /home/\udcff/python\n"
    assert cache_reading.read(keep(environ, text, Kept("half", b"{}")), text) is not None


@pytest.mark.filterwarnings("ignore::qdoctor.choosing.notice.SelectionWarning")
@settings(max_examples=200)
@given(st.data())
def test_no_damage_is_read_as_an_answer(data: st.DataObject) -> None:
    whole = cache_writing.closed(
        "a key\n", Kept("bnb-int8", b'{"selected": "bnb-int8"}', until=17.0)
    )
    at = data.draw(st.integers(0, len(whole) - 1))
    kind = data.draw(st.sampled_from(["flip", "cut", "insert", "zeros"]))
    if kind == "flip":
        broken = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    elif kind == "cut":
        broken = whole[:at]
    elif kind == "insert":
        broken = whole[:at] + data.draw(st.binary(min_size=1, max_size=9)) + whole[at:]
    else:
        broken = whole[:at] + b"\0" * (len(whole) - at)
    assert broken == whole or cache_reading.opened(broken) is None


@given(st.binary(max_size=300))
def test_no_file_of_anybodys_breaks_the_reading(data: bytes) -> None:
    assert cache_reading.opened(data) is None
