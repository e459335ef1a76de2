from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

from qdoctor import cache
from qdoctor.model import BadInput


def test_the_environment_names_the_folder(tmp_path: Path) -> None:
    assert cache.folder({"QDOCTOR_CACHE_DIR": str(tmp_path / "c")}) == tmp_path / "c"
    assert cache.folder({}).name == "qdoctor"


def test_what_we_made_is_deleted(tmp_path: Path) -> None:
    environ = {"QDOCTOR_CACHE_DIR": str(tmp_path / "deep" / "c")}
    made = cache.made_folder(environ)
    (made / "something").write_text("x")
    assert cache.made_folder(environ) == made
    assert cache.clear(environ) == made
    assert not made.exists()
    assert cache.clear(environ) is None


def test_somebody_elses_folder_is_neither_used_nor_deleted(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    environ = {"QDOCTOR_CACHE_DIR": str(tmp_path)}
    with pytest.raises(BadInput, match="somebody else"):
        cache.made_folder(environ)
    with pytest.raises(BadInput, match="not deleted"):
        cache.clear(environ)
    assert (tmp_path / "thesis.tex").exists()


@pytest.mark.parametrize("refused", ["exists", "read_text"])
def test_a_folder_that_may_not_be_read_is_said(
    refused: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    environ = {"QDOCTOR_CACHE_DIR": str(tmp_path / "c")}
    cache.made_folder(environ)
    monkeypatch.setattr(Path, refused, refuse)
    with pytest.raises(BadInput, match="cannot be deleted: Permission denied"):
        cache.clear(environ)


def test_a_name_that_is_too_long_for_a_folder_is_said() -> None:
    with pytest.raises(BadInput, match="cannot be deleted"):
        cache.clear({"QDOCTOR_CACHE_DIR": "x" * 5000})


def test_on_a_full_disk_no_tag_is_left_that_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"QDOCTOR_CACHE_DIR": str(tmp_path / "c")}
    real = Path.write_text

    def full(self: Path, *_: object, **__: object) -> int:
        real(self, "")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        cache.made_folder(environ)
    assert list((tmp_path / "c").iterdir()) == []
    monkeypatch.undo()
    (tmp_path / "c" / ".CACHEDIR.TAG.17.abcd").touch()  # of one that was killed meanwhile
    assert cache.made_folder(environ) == tmp_path / "c"
    assert cache.clear(environ) == tmp_path / "c"


def test_a_link_to_our_folder_is_not_followed(tmp_path: Path) -> None:
    made = cache.made_folder({"QDOCTOR_CACHE_DIR": str(tmp_path / "c")})
    link = tmp_path / "link"
    link.symlink_to(made)
    with pytest.raises(BadInput):
        cache.clear({"QDOCTOR_CACHE_DIR": str(link)})
    assert made.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere platformdirs itself is asked")
def test_it_lies_where_platformdirs_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for base in (None, str(tmp_path), "", "relative"):
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        if base is not None:
            monkeypatch.setenv("XDG_CACHE_HOME", base)
        if base == "relative":  # no absolute path: the specification has it ignored
            assert cache.location({}) == str(Path("~/.cache/qdoctor").expanduser())
        else:
            assert cache.location({}) == platformdirs.user_cache_dir("qdoctor", appauthor=False)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_it_is_made_for_its_user_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = cache.made_folder({"QDOCTOR_CACHE_DIR": str(tmp_path / "c")})
    finally:
        os.umask(before)
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_asking_where_it_lies_loads_nothing() -> None:
    code = (
        "import sys, qdoctor.cache as cache; cache.location({});"
        "print({'pathlib', 'shutil', 'platformdirs', 'msgspec', 'typing'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(cache.__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "set()"


def test_without_a_home_none_is_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cache, "location", lambda _: str(Path("~", ".cache", "qdoctor")))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match="no home folder"):
        cache.made_folder({})
    assert list(tmp_path.iterdir()) == []
