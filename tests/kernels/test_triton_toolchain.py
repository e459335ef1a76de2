"""What Triton builds with: the real compiler, and each part of it broken in turn."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import stat
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

KERNELS = Path(__file__).resolve().parents[2] / "kernels"
Start = Callable[..., Any]
Load = Callable[[str], Any]
WITHOUT_GPU = ("compiler", "headers", "ptxas", "cache")
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0

needs_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@needs_compiler
def test_all_that_needs_no_gpu_is_built_loaded_and_called(start: Start) -> None:
    answer = start("triton_toolchain")
    assert [one["variant"] for one in answer.outcomes or []] == [
        "compiler", "headers", "libcuda", "ptxas", "cache",
    ]  # fmt: skip
    for variant in WITHOUT_GPU:
        assert answer.one(variant)["outcome"] == "passed", answer.one(variant)
    assert answer.one("compiler")["path_taken"].endswith(os.environ.get("CC", "gcc"))
    assert answer.one("ptxas")["detail"].startswith("ptxas 1")
    assert answer.one("ptxas")["numbers"]["known_sms"] > 5


def test_nothing_is_left_behind_and_no_torch_is_imported(start: Start, tmp_path: Path) -> None:
    scratch, home = tmp_path / "scratch", tmp_path / "home"
    scratch.mkdir()
    home.mkdir()
    forbidden = tmp_path / "site" / "torch"
    forbidden.mkdir(parents=True)
    (forbidden / "__init__.py").write_text("raise RuntimeError('torch was imported')\n")
    cuda = str(tmp_path / "cuda")  # as the engine does: what the driver keeps is not ours
    env = {"TMPDIR": str(scratch), "HOME": str(home), "CUDA_CACHE_PATH": cuda}
    theirs = {"TRITON_CACHE_DIR": None}
    answer = start("triton_toolchain", env=env, paths=[forbidden.parent], environ=theirs)
    assert answer.one("compiler")["outcome"] == "passed", answer
    assert answer.one("cache")["path_taken"] == str(home / ".triton" / "cache")
    assert list(scratch.iterdir()) == list(home.iterdir()) == []


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (None, "Failed to find C compiler"),
        ("exit 3", "ended with status 3: it said nothing"),
        ("echo 'cc1: fatal error: no stdio' >&2; exit 1", "cc1: fatal error: no stdio"),
        ("exit 0", "ended with status 0"),  # says that all is well and writes nothing
    ],
    ids=["none", "fails", "speaks", "idle"],
)
def test_without_a_compiler_that_works(
    start: Start, tmp_path: Path, make: str | None, words: str
) -> None:
    env = {"PATH": str(tmp_path), "CC": str(script(tmp_path / "cc", make or ""))}
    if make is None:
        del env["CC"]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CC", raising=False)
        answer = start("triton_toolchain", env=env)
    one = answer.one("compiler")
    assert (one["outcome"], one["code"]) == ("failed", "no-c-compiler")
    assert words in one["detail"]
    assert answer.one("ptxas")["outcome"] == "passed"  # it needs none


def test_a_compiler_that_is_not_there(start: Start) -> None:
    one = start("triton_toolchain", env={"CC": "/no/such/cc"}).one("compiler")
    assert (one["outcome"], one["code"]) == ("failed", "no-c-compiler")
    assert "/no/such/cc" in one["detail"]


WITHOUT_HEADERS = """
import sysconfig
real = sysconfig.get_paths
def get_paths(*args, **kwargs):
    return {**real(*args, **kwargs), "include": "/no/such/include"}
sysconfig.get_paths = get_paths
"""


@needs_compiler
def test_without_python_h(start: Start, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(WITHOUT_HEADERS)
    answer = start("triton_toolchain", paths=[site])
    one = answer.one("headers")
    assert (one["outcome"], one["code"]) == ("failed", "python-headers-missing")
    assert one["detail"].endswith("/no/such/include")
    assert answer.one("compiler")["outcome"] == "passed"


def test_headers_that_no_compiler_can_use_are_left_open(start: Start) -> None:
    one = start("triton_toolchain", env={"CC": "/bin/false"}).one("headers")
    assert (one["outcome"], one["code"]) == ("skipped", "no-c-compiler")


# libcuda: a driver of our own stands in


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a folder with a libcuda.so.1, and libcuda.so beside it, that says CUDA 12.8."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs gcc")
    folder = tmp_path_factory.mktemp("driver")
    source = Path(__file__).with_name("pretend_cuda.c")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", source, "-o",
         folder / "libcuda.so.1"],
        check=True,
    )  # fmt: skip
    (folder / "libcuda.so").symlink_to("libcuda.so.1")
    return folder


def test_the_launcher_is_linked_loaded_and_asks_the_driver(start: Start, driver: Path) -> None:
    env = {"TRITON_LIBCUDA_PATH": str(driver), "LD_LIBRARY_PATH": str(driver)}
    one = start("triton_toolchain", env=env).one("libcuda")
    assert one["outcome"] == "passed", one
    assert one["numbers"]["driver_cuda"] == 12080
    assert str(driver) in one["path_taken"]


def test_a_driver_that_loads_and_that_triton_does_not_find_to_link(
    start: Start, driver: Path, tmp_path: Path
) -> None:
    env = {"TRITON_LIBCUDA_PATH": str(tmp_path), "LD_LIBRARY_PATH": str(driver)}
    one = start("triton_toolchain", env=env).one("libcuda")
    if one["outcome"] == "passed" and ctypes.util.find_library("cuda"):
        pytest.skip("a real driver lies where the linker looks by itself")
    assert (one["outcome"], one["code"]) == ("failed", "libcuda-not-found")
    assert "libcuda" in one["detail"]


def test_without_a_driver_linking_is_not_asked(start: Start) -> None:
    one = start("triton_toolchain", env={"LD_LIBRARY_PATH": ""}).one("libcuda")
    if one["outcome"] == "passed":
        pytest.skip("there is a CUDA driver")
    assert (one["outcome"], one["code"], one["ran"]) == ("skipped", "no-gpu", False)


def test_the_sm_of_the_gpu_is_asked_of_its_ptxas(start: Start, driver: Path) -> None:
    env = {"TRITON_LIBCUDA_PATH": str(driver), "LD_LIBRARY_PATH": str(driver)}
    one = start("triton_toolchain", env=env).one("ptxas")
    assert one["detail"].endswith("knows SM 8.6")  # what the stand-in says it is
    assert (one["device"], one["numbers"]["sm"]) == ("cuda:0", 8.6)


# ptxas


def test_each_sm_is_answered_by_the_ptxas_that_triton_takes_for_it(start: Start) -> None:
    answer = start("triton_toolchain", mode="compile", sms=["8.0", "12.0", "99.0"])
    for sm in ("80", "120"):
        one = answer.one("ptxas", f"sm_{sm}")
        assert (one["outcome"], one["ran"]) == ("passed", False)
    one = answer.one("ptxas", "sm_990")
    assert (one["outcome"], one["code"]) == ("failed", "ptxas-too-old-for-sm")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("echo 'release 8.0'; echo sm_60", "ptxas-too-old-for-sm"),
        ("echo 'release 8.0'; case $1 in --help) exit 1;; esac", "no-ptxas"),
    ],
)
def test_a_ptxas_named_by_hand_is_the_one_that_is_asked(
    start: Start, tmp_path: Path, text: str, code: str
) -> None:
    path = script(tmp_path / "ptxas", text)
    env = {"TRITON_PTXAS_PATH": str(path), "TRITON_PTXAS_BLACKWELL_PATH": str(path)}
    one = start("triton_toolchain", env=env, mode="compile", sms=["8.0"]).one("ptxas")
    assert (one["outcome"], one["code"]) == ("failed", code)


def test_a_ptxas_that_triton_does_not_take_is_named(start: Start, tmp_path: Path) -> None:
    env = {"TRITON_PTXAS_PATH": str(tmp_path / "nothing")}
    one = start("triton_toolchain", env=env).one("ptxas")
    said = f"TRITON_PTXAS_PATH={tmp_path / 'nothing'} is not what Triton takes"
    assert one["evidence"] == [said] or one["code"] == "no-ptxas"


# The cache


def test_the_users_own_cache_folder_is_judged_not_the_doctors(start: Start, tmp_path: Path) -> None:
    theirs = tmp_path / "file"
    theirs.touch()
    answer = start("triton_toolchain", environ={"TRITON_CACHE_DIR": str(theirs / "cache")})
    one = answer.one("cache")
    assert (one["outcome"], one["code"]) == ("failed", "triton-cache-not-writable")
    assert one["detail"] == f"{theirs / 'cache'}: {theirs} is not a folder"


def test_their_home_counts_where_they_name_no_cache(start: Start, tmp_path: Path) -> None:
    answer = start(
        "triton_toolchain", env={"HOME": str(tmp_path)}, environ={"TRITON_CACHE_DIR": None}
    )
    assert answer.one("cache")["path_taken"] == str(tmp_path / ".triton" / "cache")


@pytest.mark.skipif(ROOT, reason="root may write anywhere")
def test_a_folder_without_permission(load: Load, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert load("triton_toolchain")._why_not(tmp_path).endswith("may not be written to")
    tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        ((os.ST_RDONLY, 1000), "mounted read-only"),
        ((os.ST_NOEXEC, 1000), "mounted noexec"),
        ((0, 3), "is full"),
    ],
)
def test_a_file_system_that_serves_no_cache(
    load: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mount: tuple[int, int], words: str
) -> None:
    mounted = types.SimpleNamespace(f_flag=mount[0], f_bavail=mount[1], f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda _path: mounted)
    assert words in load("triton_toolchain")._why_not(tmp_path)


# Triton's own functions, as releases have had them


def test_the_command_is_the_one_that_triton_itself_runs(load: Load, tmp_path: Path) -> None:
    """Held against the command that Triton's real ``_build`` starts, libcuda aside."""
    toolchain = load("_toolchain")
    source = tmp_path / "main.c"
    source.write_text("int x;\n")
    build = pytest.importorskip("triton.runtime.build")
    started: list[list[str]] = []

    def check_call(command: list[str], **_options: object) -> int:
        started.append(command)
        return 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "check_call", check_call)
        build._build("main", str(source), str(tmp_path), [], [], [], [])
    assert toolchain.c_command(str(source), str(tmp_path)) == started[0]
    assert build.subprocess is subprocess  # put back


OLD_BUILD = """
import subprocess
def is_hip():
    import torch_that_is_not_here
def libcuda_dirs():
    said = subprocess.check_output(["sh", "-c", "echo $DRIVER_FOLDER"]).decode().split()
    assert said, "libcuda.so cannot found!"
    return said
def _build(name, src, srcdir):
    if is_hip():
        return None
    dirs = libcuda_dirs()
    subprocess.check_call(["cc", src, "-O3", "-lcuda", "-o", srcdir + "/" + name + ".so",
                           *("-L" + one for one in dirs)])
"""


@pytest.fixture
def old_triton(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a triton before the real one that is laid out as 2.1 to 2.3 were."""
    common = tmp_path / "triton" / "common"
    common.mkdir(parents=True)
    (common / "build.py").write_text(OLD_BUILD)
    (common / "backend.py").write_text(
        "def path_to_ptxas():\n    return '/somewhere/ptxas', '12.1'\n"
    )
    (common / "__init__.py").touch()
    runtime = common.parent / "runtime"
    runtime.mkdir()
    (runtime / "__init__.py").touch()
    (runtime / "cache.py").write_text("def default_cache_dir():\n    return '/home/a/.triton'\n")
    (common.parent / "__init__.py").touch()
    for name in [name for name in sys.modules if name.split(".")[0] == "triton"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("old_triton")
def test_a_triton_that_links_libcuda_always_gives_the_command_without_it(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    toolchain = load("_toolchain")
    monkeypatch.setenv("DRIVER_FOLDER", "")
    assert toolchain.c_command("/a/main.c", "/a") == ["cc", "/a/main.c", "-O3", "-o", "/a/main.so"]
    with pytest.raises(AssertionError, match=r"libcuda\.so cannot found"):
        toolchain.launcher_command("/a/main.c", "/a")
    monkeypatch.setenv("DRIVER_FOLDER", "/driver")
    linked = toolchain.launcher_command("/a/main.c", "/a")
    assert linked == ["cc", "/a/main.c", "-O3", "-lcuda", "-o", "/a/main.so", "-L/driver"]
    assert toolchain.ptxas("9.0") == ("/somewhere/ptxas", "12.1")
    assert toolchain.cache_folder({"TRITON_CACHE_DIR": None}) == "/home/a/.triton"
    assert toolchain.cache_folder({"TRITON_CACHE_DIR": "/x"}) == "/x"


def test_a_triton_that_does_it_in_another_way_is_unknown(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "triton").mkdir()
    (tmp_path / "triton" / "__init__.py").touch()
    for name in [name for name in sys.modules if name.split(".")[0] == "triton"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    toolchain = load("_toolchain")
    with pytest.raises(toolchain.Unknown, match="_build"):
        toolchain.c_command("/a/main.c", "/a")
    with pytest.raises(toolchain.Unknown, match="ptxas"):
        toolchain.ptxas(None)


@pytest.mark.gpu
@pytest.mark.usefixtures("gpu")
def test_on_a_real_gpu_the_launcher_calls_the_driver(start: Start) -> None:
    answer = start("triton_toolchain")
    assert answer.one("libcuda")["outcome"] == "passed"
    assert answer.one("libcuda")["numbers"]["driver_cuda"] > 11000
    assert "knows SM" in answer.one("ptxas")["detail"]
