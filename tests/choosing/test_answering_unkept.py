"""Where nothing can be kept: no folder, a home that is mounted read-only, somebody else's files."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.choosing.asking import posix_only

if TYPE_CHECKING:
    from pathlib import Path

    from tests.choosing.asking import Rig


@posix_only
def test_without_a_cache_every_process_works_and_says_so_once(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    rig.environ["QDOCTOR_CACHE_DIR"] = str(tmp_path / "file" / "cache")
    told = rig.ask(times=3)
    assert [one["name"] for one in told] == ["half"] * 3
    assert rig.worked() == 1  # the process itself remembers
    assert len(told[-1]["said"]) == 1
    assert "cannot be kept" in told[-1]["said"][0]
    assert "QDOCTOR_CACHE_DIR" in told[-1]["said"][0]
    rig.ask()
    assert rig.worked() == 2


def mounted_read_only(folder: Path) -> list[str]:
    """Return a command that starts another where a folder is mounted read-only; skip without."""
    script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'
    words = ["unshare", "-rm", "sh", "-c", script, "sh", str(folder)]
    try:
        tried = subprocess.run([*words, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no unshare(1) to mount a folder with")
    if tried.returncode:
        pytest.skip(f"may mount nothing here: {tried.stderr.strip()}")
    return words


def home_of(rig: Rig) -> Path:
    """Let the cache be where it is by default: in a home folder."""
    home = rig.folder / "home"
    home.mkdir()
    del rig.environ["QDOCTOR_CACHE_DIR"]
    rig.environ["HOME"] = str(home)
    return home


@pytest.mark.skipif(sys.platform != "linux", reason="mounts")
def test_in_a_home_that_is_mounted_read_only_it_works_and_says_so_once(rig: Rig) -> None:
    home = home_of(rig)
    rig.within = mounted_read_only(home)
    told = rig.ask(times=3, selects="bnb-nf4")
    assert [one["name"] for one in told] == ["bnb-nf4"] * 3
    assert rig.worked() == 1
    (said,) = told[-1]["said"]
    assert "Read-only file system" in said
    assert "QDOCTOR_CACHE_DIR" in said
    assert not list(home.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="mounts")
def test_what_was_kept_before_the_home_became_read_only_is_read(rig: Rig) -> None:
    home = home_of(rig)
    rig.ask(selects="bnb-nf4")
    rig.within = mounted_read_only(home)
    told = rig.ask(selects="half")
    assert (told[-1]["name"], told[-1]["said"]) == ("bnb-nf4", [])
    assert rig.worked() == 1
    told = rig.ask(selects="half", asks={"refresh": True})
    assert told[-1]["name"] == "half"
    assert "Read-only file system" in told[-1]["said"][0]
    assert rig.worked() == 2


@pytest.mark.skipif(sys.platform != "linux", reason="mounts")
def test_a_dead_owners_lock_that_nobody_can_remove_holds_nobody_up(rig: Rig) -> None:
    """It was killed, and its image is mounted read-only since."""
    home = home_of(rig)
    killed = rig.start(dies=True)
    killed.communicate(timeout=60)
    assert list(home.glob(".cache/qdoctor/selections/.*.lock"))
    rig.within = mounted_read_only(home)
    asker = rig.start(selects="bnb-nf4")
    try:
        told = rig.told(asker, within=30)[0]
    finally:
        asker.kill()
    assert told[-1]["name"] == "bnb-nf4"
    assert "Read-only file system" in told[-1]["said"][0]


def test_a_folder_full_of_somebody_elses_files_is_not_written_to(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("years of work")
    rig.environ["QDOCTOR_CACHE_DIR"] = str(tmp_path / "thesis")
    assert "somebody else" in rig.ask()[-1]["said"][0]
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["thesis.tex"]
