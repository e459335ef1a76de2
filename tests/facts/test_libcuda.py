"""The loader's choice of libcuda.so.1, from real caches that ldconfig writes."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from qdoctor.facts import libcuda

if TYPE_CHECKING:
    from pathlib import Path

ELF_64 = b"\x7fELF\x02\x01\x01" + b"\0" * 57


def put(root: Path, folder: str, version: str | None, content: bytes = ELF_64) -> Path:
    """Lay a driver library into ``folder`` as its package does; return its libcuda.so.1."""
    place = root / folder
    place.mkdir(parents=True, exist_ok=True)
    link = place / "libcuda.so.1"
    if version is None:
        link.write_bytes(content)
    else:
        (place / f"libcuda.so.{version}").write_bytes(content)
        link.symlink_to(f"libcuda.so.{version}")
    return link


def test_the_library_path_comes_before_the_default_folders(tmp_path: Path) -> None:
    own = put(tmp_path, "usr/lib/x86_64-linux-gnu", "535.104.05")
    compat = put(tmp_path, "usr/local/cuda-12.8/compat", "570.86.10")
    (tmp_path / "usr/local/cuda").symlink_to("cuda-12.8")
    environ = {"LD_LIBRARY_PATH": "/usr/lib/none:relative:/usr/local/cuda/compat"}
    found = libcuda.found_by_loader(environ, tmp_path)
    assert [path.resolve() for path in found] == [compat.resolve(), own.resolve()]
    assert libcuda.version_of(found[0]) == "570.86.10"
    assert libcuda.compat_folder(found[0]) == "12.8"
    assert libcuda.compat_folder(own) is None
    assert libcuda.found_by_loader({}, tmp_path) == [own]


def test_a_32_bit_library_is_passed_over(tmp_path: Path) -> None:
    put(tmp_path, "usr/lib", "535.104.05", ELF_64.replace(b"F\x02", b"F\x01"))
    own = put(tmp_path, "usr/lib64", "535.104.05")
    assert libcuda.found_by_loader({}, tmp_path) == [own]


def test_the_drivers_own_library_is_found_behind_another(tmp_path: Path) -> None:
    put(tmp_path, "usr/lib64", "570.86.10")
    own = put(tmp_path, "usr/local/nvidia/lib64", "535.104.05")
    assert libcuda.of_version("535.104.05", {}, tmp_path) == own.resolve()
    assert libcuda.of_version("1.2.3", {}, tmp_path) is None


def test_wsl_has_a_library_without_version(tmp_path: Path) -> None:
    assert libcuda.version_of(put(tmp_path, "usr/lib/wsl/lib", None)) is None


def test_a_real_cache_is_read_in_the_loaders_order(tmp_path: Path, compiler: str) -> None:
    ldconfig = shutil.which("ldconfig", path="/usr/sbin:/sbin:/usr/bin")
    if ldconfig is None:
        pytest.skip("ldconfig is not installed here")
    folders = [tmp_path / "opt/first", tmp_path / "opt/second"]
    for folder in folders:
        folder.mkdir(parents=True)
        command = [compiler, "-shared", "-xc", "/dev/null", "-o", "libcuda.so.9.1"]
        subprocess.run([*command, "-Wl,-soname,libcuda.so.1"], cwd=folder, check=True)
    conf = tmp_path / "ld.so.conf"
    conf.write_text("".join(f"{folder}\n" for folder in folders))
    cache = tmp_path / "etc/ld.so.cache"
    cache.parent.mkdir()
    subprocess.run([ldconfig, "-C", cache, "-f", conf], check=True, capture_output=True)
    listed = subprocess.run(
        [ldconfig, "-C", cache, "-p"], check=True, capture_output=True, text=True
    ).stdout
    expected = [line.split("=> ")[1] for line in listed.splitlines() if "libcuda.so.1 " in line]
    assert len(expected) >= 1
    assert list(libcuda._cached(cache)) == expected


@pytest.mark.parametrize(
    "damage", [b"", b"glibc-ld.so.cache1.1", b"glibc-ld.so.cache1.1" + b"\xff" * 60]
)
def test_a_damaged_cache_lists_nothing(damage: bytes, tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(damage)
    assert list(libcuda._cached(tmp_path / "cache")) == []
