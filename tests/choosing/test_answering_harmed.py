"""What is kept is this user's alone, is not believed where harmed, and is not kept for ever."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from tests.choosing.asking import posix_only

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.choosing.asking import Rig


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _garble(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _foreign_format(path: Path) -> None:
    path.write_text('{"selected": "bnb-fp4"}')


def _open_file(path: Path) -> None:
    path.chmod(0o666)


def _open_folder(path: Path) -> None:
    path.parent.chmod(0o777)


def _open_cache(path: Path) -> None:
    path.parent.parent.chmod(0o770)


def _link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def _link_folder(path: Path) -> None:
    aside = path.parent.with_name("aside")
    path.parent.rename(aside)
    aside.with_name("selections").symlink_to(aside)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir(0o700)


@posix_only
@pytest.mark.parametrize(
    ("harm", "word"),
    [
        (_truncate, "damaged"),
        (_garble, "damaged"),
        (_empty, "damaged"),
        (_foreign_format, "damaged"),
        (_open_file, "others may write to"),
        (_open_folder, "others may write to"),
        (_open_cache, "others may write to"),
        (_link, "symbolic link"),
        (_link_folder, "symbolic link"),
        (_pipe, "no regular file"),
        (_folder, "no regular file"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_cannot_be_believed_is_not_and_that_is_said_once(
    rig: Rig,
    harm: Callable[[Path], None],
    word: str,
) -> None:
    rig.ask(selects="bnb-nf4")
    harm(rig.kept()[0])
    told = rig.ask(selects="half", times=3)
    assert [one["name"] for one in told] == ["half"] * 3
    assert rig.worked() == 2
    assert len([text for text in told[-1]["said"] if word in text and "is not used" in text]) == 1


@posix_only
def test_a_damaged_answer_is_replaced(rig: Rig) -> None:
    rig.ask()
    _truncate(rig.kept()[0])
    rig.ask()
    assert rig.ask()[-1]["said"] == []
    assert rig.worked() == 2


@posix_only
@pytest.mark.skipif(os.name != "nt" and os.geteuid() != 0, reason="only root gives files away")
def test_an_answer_that_belongs_to_somebody_else_is_not_believed(rig: Rig) -> None:
    rig.ask(selects="bnb-nf4")
    os.chown(rig.kept()[0], 12345, 12345)
    told = rig.ask(selects="half")
    assert told[-1]["name"] == "half"
    assert any("belongs to another user (uid 12345)" in text for text in told[-1]["said"])


@posix_only
def test_files_are_this_users_alone_whatever_the_umask(rig: Rig) -> None:
    before = os.umask(0)
    try:
        rig.ask()
    finally:
        os.umask(before)
    places = [rig.cache, rig.cache / "selections", *rig.kept()]
    assert [stat.S_IMODE(place.stat().st_mode) for place in places] == [0o700, 0o700, 0o600]


def test_old_answers_are_deleted_in_time(rig: Rig) -> None:
    rig.ask()
    folder = rig.cache / "selections"
    for number in range(200):
        (folder / f"{number:016x}").write_text("old")
        os.utime(folder / f"{number:016x}", (number, number))
    (folder / ".left.1.ab").write_text("half written")
    os.utime(folder / ".left.1.ab", (1, 1))
    rig.ask(asks={"objective": "memory"})
    assert len(list(folder.iterdir())) == 128
    assert not (folder / ".left.1.ab").exists()
    rig.ask()
    assert rig.worked() == 2
