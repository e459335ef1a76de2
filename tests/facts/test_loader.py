"""The loader's order, each step by libraries that exist on paper only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from qdoctor.facts.loader import Header, Process, System, default_folders, listed

PYTHON = "/env/bin/python3"
PROGRAM = Header("x86_64")
Files = dict[str, Header]
Run = Callable[..., Process]


def needing(*needs: str, **more: tuple[str, ...]) -> Header:
    return Header("x86_64", needs, **more)  # type: ignore[arg-type]


PLAIN = Header("x86_64")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Lay files out below a folder that stands for the root, and start an interpreter there."""

    def start(  # noqa: PLR0913 - a machine has these parts
        files: Files,
        cached: dict[str, list[str]] | None = None,
        program: Header = PROGRAM,
        preload: tuple[str, ...] = (),
        library_path: tuple[str, ...] = (),
        *,
        musl: bool = False,
    ) -> Process:
        root = str(tmp_path)
        held = {root + name: header for name, header in {PYTHON: program, **files}.items()}
        for name in held:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).touch()
        system = System(
            header=held.get,
            cached=lambda name: [root + one for one in (cached or {}).get(name, ())],
            default=tuple(root + one for one in ("/lib64", "/usr/lib64")),
            library_path=tuple(root + one for one in library_path),
            musl=musl,
        )
        return Process(system, root + PYTHON, [root + one for one in preload])

    return start


def given(process: Process, tmp_path: Path, path: str, need: str) -> str:
    return process.resolve(f"{tmp_path}{path}")[need].removeprefix(str(tmp_path))


EVERYWHERE: Files = {
    "/own/libx.so": PLAIN,
    "/rpath/libx.so": PLAIN,
    "/told/libx.so": PLAIN,
    "/cached/libx.so": PLAIN,
    "/lib64/libx.so": PLAIN,
}
CACHED = {"libx.so": ["/cached/libx.so"]}


def test_runpath_comes_after_the_environment_and_before_the_cache(run: Run, tmp_path: Path) -> None:
    files = {**EVERYWHERE, "/own/liba.so": needing("libx.so", runpath=("$ORIGIN",))}
    told = run(files, CACHED, library_path=("/told",))
    assert given(told, tmp_path, "/own/liba.so", "libx.so") == "/told/libx.so"
    assert given(run(files, CACHED), tmp_path, "/own/liba.so", "libx.so") == "/own/libx.so"


def test_rpath_comes_before_the_environment(run: Run, tmp_path: Path) -> None:
    files = {**EVERYWHERE, "/own/liba.so": needing("libx.so", rpath=("${ORIGIN}/../rpath",))}
    process = run(files, CACHED, library_path=("/told",))
    assert given(process, tmp_path, "/own/liba.so", "libx.so") == "/rpath/libx.so"


def test_rpath_does_not_count_beside_a_runpath(run: Run, tmp_path: Path) -> None:
    both = needing("libx.so", rpath=("$ORIGIN/../rpath",), runpath=("$ORIGIN",))
    process = run({**EVERYWHERE, "/own/liba.so": both}, CACHED)
    assert given(process, tmp_path, "/own/liba.so", "libx.so") == "/own/libx.so"


def test_the_program_s_rpath_counts_for_what_it_loads(run: Run, tmp_path: Path) -> None:
    conda = Header("x86_64", rpath=("$ORIGIN/../../rpath",))
    process = run({**EVERYWHERE, "/own/liba.so": needing("libx.so")}, CACHED, program=conda)
    assert given(process, tmp_path, "/own/liba.so", "libx.so") == "/rpath/libx.so"


def test_the_cache_comes_before_the_default_folders(run: Run, tmp_path: Path) -> None:
    files = {**EVERYWHERE, "/own/liba.so": needing("libx.so")}
    assert given(run(files, CACHED), tmp_path, "/own/liba.so", "libx.so") == "/cached/libx.so"
    assert given(run(files), tmp_path, "/own/liba.so", "libx.so") == "/lib64/libx.so"


def test_what_is_nowhere_resolves_to_nothing(run: Run, tmp_path: Path) -> None:
    process = run({"/own/liba.so": needing("libgone.so.12")})
    assert given(process, tmp_path, "/own/liba.so", "libgone.so.12") == ""


def test_a_library_for_another_machine_is_passed_over(run: Run, tmp_path: Path) -> None:
    files = {
        "/own/liba.so": needing("libx.so"),
        "/told/libx.so": Header("i386"),
        "/lib64/libx.so": PLAIN,
    }
    process = run(files, library_path=("/told",))
    assert given(process, tmp_path, "/own/liba.so", "libx.so") == "/lib64/libx.so"


def test_a_file_that_is_no_library_ends_the_search(run: Run, tmp_path: Path) -> None:
    files = {
        "/own/liba.so": needing("libx.so"),
        "/told/libx.so": Header(""),
        "/lib64/libx.so": PLAIN,
    }
    process = run(files, library_path=("/told",))
    assert given(process, tmp_path, "/own/liba.so", "libx.so") == ""


def test_what_is_loaded_wins_and_the_other_copy_is_told(run: Run, tmp_path: Path) -> None:
    files = {
        "/torch/libtorch.so": needing("libcublas.so.12", rpath=("$ORIGIN/../wheel",)),
        "/wheel/libcublas.so.12": PLAIN,
        "/own/liba.so": needing("libcublas.so.12", runpath=("$ORIGIN",)),
        "/own/libcublas.so.12": PLAIN,
    }
    process = run(files)
    assert given(process, tmp_path, "/own/liba.so", "libcublas.so.12") == "/own/libcublas.so.12"
    assert process.load(f"{tmp_path}/torch/libtorch.so") == []
    assert given(process, tmp_path, "/own/liba.so", "libcublas.so.12") == "/wheel/libcublas.so.12"
    alone = process.alone(f"{tmp_path}/own/liba.so", ["libcublas.so.12"])
    assert alone == {"libcublas.so.12": f"{tmp_path}/own/libcublas.so.12"}


def test_two_majors_live_side_by_side(run: Run, tmp_path: Path) -> None:
    files = {
        "/lib64/libcudart.so.12": PLAIN,
        "/lib64/libcudart.so.13": PLAIN,
        "/own/a.so": needing("libcudart.so.12"),
        "/own/b.so": needing("libcudart.so.13"),
    }
    process = run(files)
    process.load(f"{tmp_path}/own/a.so")
    assert given(process, tmp_path, "/own/b.so", "libcudart.so.13") == "/lib64/libcudart.so.13"


def test_a_library_is_known_by_its_soname(run: Run, tmp_path: Path) -> None:
    files = {
        "/opt/blas-1.so": Header("x86_64", soname="libblas.so.3"),
        "/own/a.so": needing("libblas.so.3"),
    }
    process = run(files, preload=("/opt/blas-1.so",))
    assert given(process, tmp_path, "/own/a.so", "libblas.so.3") == "/opt/blas-1.so"


def test_what_a_needed_library_lacks_is_missing_too(run: Run, tmp_path: Path) -> None:
    files = {"/lib64/libb.so": needing("libgone.so"), "/own/a.so": needing("libb.so")}
    assert run(files).load(f"{tmp_path}/own/a.so") == ["libgone.so"]


def test_libraries_that_need_each_other_end(run: Run, tmp_path: Path) -> None:
    files = {"/lib64/a.so": needing("b.so"), "/lib64/b.so": needing("a.so")}
    assert run(files).load(f"{tmp_path}/lib64/a.so") == []


def test_musl_asks_the_environment_first_and_inherits_paths(run: Run, tmp_path: Path) -> None:
    files = {**EVERYWHERE, "/own/liba.so": needing("libx.so", rpath=("$ORIGIN",))}
    told = run(files, library_path=("/told",), musl=True)
    assert given(told, tmp_path, "/own/liba.so", "libx.so") == "/told/libx.so"
    assert given(run(files, musl=True), tmp_path, "/own/liba.so", "libx.so") == "/own/libx.so"


def test_a_need_with_a_slash_is_a_path(run: Run, tmp_path: Path) -> None:
    files = {"/own/liba.so": needing("$ORIGIN/libx.so"), "/own/libx.so": PLAIN}
    assert given(run(files), tmp_path, "/own/liba.so", "$ORIGIN/libx.so") == "/own/libx.so"


def test_an_empty_entry_is_the_working_folder() -> None:
    assert listed({"LD_LIBRARY_PATH": "/a::/b"}, "LD_LIBRARY_PATH") == ("/a", ".", "/b")
    assert listed({"LD_PRELOAD": "/a.so /b.so"}, "LD_PRELOAD") == ("/a.so", "/b.so")
    assert listed({}, "LD_LIBRARY_PATH") == ()


def test_default_folders_know_multiarch() -> None:
    assert default_folders("x86_64")[:2] == ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu")
    assert default_folders("riscv")[0] == "/lib64"
    assert default_folders("x86_64", musl=True)[0] == "/lib"
