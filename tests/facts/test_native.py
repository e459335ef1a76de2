"""Installed libraries laid out in a folder: what is listed, and which files each would be given."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdoctor.binaries import read_library
from qdoctor.facts.candidates import _record
from qdoctor.facts.interpreter import Distribution
from qdoctor.facts.native import Read, read_native
from tests.facts.readings import reading

if TYPE_CHECKING:
    from qdoctor.model import NativeLibrary

_spec = importlib.util.spec_from_file_location(
    "elf_files", Path(__file__).with_name("elf_files.py")
)
assert _spec is not None
assert _spec.loader is not None
made: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ELF's loader")

CUBLAS, CUDART = "libcublas.so.12", "libcudart.so.12"
SASS = made.code((2, 80), (2, 90), (1, 90))


class Environment:
    """A site-packages folder, filled by a test."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.site = root / "site-packages"
        self.environ = {"QDOCTOR_CACHE_DIR": str(root / "cache")}
        self._distributions: list[Distribution] = []
        self._folders: dict[str, str] = {}
        made.write(root / "bin" / "python3", made.elf(()))

    def install(self, name: str, files: dict[str, bytes]) -> None:
        info = self.site / f"{name}-1.0.dist-info"
        for file, content in files.items():
            made.write(self.site / file, content)
        made.write(info / "RECORD", "".join(f"{file},,\n" for file in files).encode())
        self._distributions.append(
            Distribution(name, "1.0", str(info / "METADATA"), str(self.site))
        )

    def imports(self, name: str) -> None:
        self._folders[name] = str(self.site / name)

    def read(self, **environ: str) -> Read:
        python = str(self.root / "bin" / "python3")
        told = reading([self.site], *self._distributions, folders=self._folders, python=python)
        return read_native(told, {**self.environ, **environ})

    def listed(self, **environ: str) -> dict[str, NativeLibrary]:
        return {one.file or "": one for one in self.read(**environ).libraries}

    def short(self, files: dict[str, str] | None) -> dict[str, str]:
        """Write paths as they lie below the site-packages folder."""
        return {need: file.removeprefix(f"{self.site}/") for need, file in (files or {}).items()}


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path)


def test_what_links_cuda_is_listed_and_nothing_else(environment: Environment) -> None:
    environment.install(
        "flash-attn",
        {
            "flash_attn_2_cuda.so": made.elf(("libc10.so",), fatbin=SASS),
            "flash_attn/host.so": made.elf((CUDART,)),
            "flash_attn/plain.so": made.elf(("libm.so.6",)),
            "flash_attn/script.so": b"INPUT(libfoo.so)\n",
        },
    )
    found = environment.listed()
    assert set(found) == {"flash_attn_2_cuda.so", "host.so"}
    kernels = found["flash_attn_2_cuda.so"]
    assert (kernels.package, kernels.sm, kernels.ptx) == (
        "flash-attn",
        ["sm_80", "sm_90"],
        ["sm_90"],
    )
    assert kernels.ptx_isa == {"sm_90": "8.7"}
    assert kernels.path == str(environment.site / "flash_attn_2_cuda.so")


def test_a_need_that_is_nowhere_is_told(environment: Environment) -> None:
    environment.install("ext", {"ext.so": made.elf((CUDART, "libown.so.3", "libc.so.6"))})
    (library,) = environment.read().libraries
    assert library.resolved == {CUDART: "", "libown.so.3": ""}


def with_torch(environment: Environment, rpath: str, source: str = "") -> None:
    """Install a torch whose libraries name the wheels' folders, and those wheels."""
    environment.install(
        "torch",
        {
            "torch/__init__.py": source.encode(),
            "torch/lib/libtorch_global_deps.so": made.elf((CUDART, CUBLAS), rpath=rpath),
            "torch/lib/libtorch_cuda.so": made.elf(
                (CUDART,), soname="libtorch_cuda.so", fatbin=SASS
            ),
            "torch/_C.cpython-311-x86_64-linux-gnu.so": made.elf(
                ("libtorch_cuda.so",), rpath="$ORIGIN/lib"
            ),
        },
    )
    environment.install(
        "nvidia-cublas-cu12",
        {f"nvidia/cublas/lib/{CUBLAS}": made.elf((), soname=CUBLAS, fatbin=SASS)},
    )
    environment.install(
        "nvidia-cuda-runtime-cu12",
        {f"nvidia/cuda_runtime/lib/{CUDART}": made.elf((), soname=CUDART, fatbin=SASS)},
    )
    environment.imports("torch")


WHEELS = "$ORIGIN/../../nvidia/cublas/lib:$ORIGIN/../../nvidia/cuda_runtime/lib"
GIVEN = {
    CUBLAS: f"nvidia/cublas/lib/{CUBLAS}",
    CUDART: f"nvidia/cuda_runtime/lib/{CUDART}",
}


def test_what_torch_loaded_is_given_to_the_rest(environment: Environment) -> None:
    with_torch(environment, WHEELS)
    environment.install(
        "bitsandbytes", {"bitsandbytes/libbitsandbytes_cuda124.so": made.elf((CUBLAS, CUDART))}
    )
    environment.imports("bitsandbytes")
    library = environment.listed()["libbitsandbytes_cuda124.so"]
    assert environment.short(library.resolved) == GIVEN
    assert library.shadowed is None


def test_another_copy_that_loses_is_named(environment: Environment) -> None:
    with_torch(environment, WHEELS)
    toolkit = environment.root / "toolkit"
    made.write(toolkit / CUBLAS, made.elf((), soname=CUBLAS))
    environment.install("ext", {"ext.so": made.elf((CUBLAS,), runpath=str(toolkit))})
    library = environment.listed()["ext.so"]
    assert environment.short(library.resolved) == {CUBLAS: GIVEN[CUBLAS]}
    assert library.shadowed == {CUBLAS: str(toolkit / CUBLAS)}


def test_the_environment_outranks_a_runpath_but_not_torch_s_rpath(
    environment: Environment,
) -> None:
    with_torch(environment, WHEELS)
    made.write(environment.root / "toolkit" / CUBLAS, made.elf((), soname=CUBLAS))
    environment.install("ext", {"ext.so": made.elf((CUBLAS,))})
    told = environment.listed(LD_LIBRARY_PATH=str(environment.root / "toolkit"))["ext.so"]
    assert environment.short(told.resolved) == {CUBLAS: GIVEN[CUBLAS]}


OPENS = """
def _preload_cuda_deps(err=None):
    cuda_libs = [("cublas", "libcublas.so.*[0-9]"), ("cuda_runtime", "libcudart.so.*[0-9]")]
"""


def test_torch_opens_by_path_what_its_own_paths_do_not_find(environment: Environment) -> None:
    with_torch(environment, "", OPENS)
    environment.install("ext", {"ext.so": made.elf((CUBLAS, CUDART))})
    assert environment.short(environment.listed()["ext.so"].resolved) == GIVEN


def test_torch_opens_libraries_that_link_nothing_of_cuda(environment: Environment) -> None:
    source = OPENS.replace(")]", '), ("cuda_nvrtc", "libnvrtc.so.*[0-9]")]')
    with_torch(environment, WHEELS, source + "\n_preload_cuda_deps()\n")
    nvrtc = "nvidia/cuda_nvrtc/lib/libnvrtc.so.12"
    environment.install(
        "nvidia-cuda-nvrtc-cu12", {nvrtc: made.elf(("libm.so.6",), soname="libnvrtc.so.12")}
    )
    environment.install("ext", {"ext.so": made.elf(("libnvrtc.so.12",))})
    resolved = environment.short(environment.listed()["ext.so"].resolved)
    assert resolved == {"libnvrtc.so.12": nvrtc}


def test_a_torch_that_opens_nothing_by_path_leaves_them_missing(environment: Environment) -> None:
    with_torch(environment, "")
    environment.install("ext", {"ext.so": made.elf((CUBLAS,))})
    assert environment.listed()["ext.so"].resolved == {CUBLAS: ""}


def test_nvidia_s_own_libraries_are_listed_in_short(environment: Environment) -> None:
    with_torch(environment, WHEELS)
    cublas = environment.listed()[CUBLAS]
    assert (cublas.package, cublas.sm) == ("nvidia-cublas-cu12", ["sm_80", "sm_90"])
    assert (cublas.needs, cublas.ptx_isa, cublas.resolved) == (None, None, None)


def test_a_bitsandbytes_without_any_library_is_known_to_have_none(
    environment: Environment,
) -> None:
    environment.install("bitsandbytes", {"bitsandbytes/__init__.py": b""})
    environment.imports("bitsandbytes")
    (none,) = environment.read().libraries
    assert (none.package, none.file, none.needs) == ("bitsandbytes", "", None)


def test_other_vendors_libraries_of_bitsandbytes_are_only_named(environment: Environment) -> None:
    files = {
        "bitsandbytes/libbitsandbytes_rocm72.so": b"never read",
        "bitsandbytes/libbitsandbytes_cpu.so": made.elf(("libgomp.so.1",)),
    }
    environment.install("bitsandbytes", files)
    environment.imports("bitsandbytes")
    found = environment.listed()
    assert found["libbitsandbytes_rocm72.so"].needs is None
    assert found["libbitsandbytes_cpu.so"].needs == ["libgomp.so.1"]


def test_a_library_that_is_cut_short_is_told_with_its_reason(environment: Environment) -> None:
    whole = made.elf((CUDART,), fatbin=SASS)
    environment.install("ext", {"ext.so": whole[: len(whole) // 2], "empty.so": b""})
    read = environment.read()
    assert read.libraries == []
    assert set(read.unread) == {"native.ext.so", "native.empty.so"}
    assert "reaches past the end" in read.unread["native.ext.so"]


def test_a_second_look_reads_nothing_and_says_the_same(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_torch(environment, WHEELS)
    first = environment.read()

    def never(_: object) -> object:
        raise AssertionError("read again")

    monkeypatch.setattr("qdoctor.binaries.read_library", never)
    monkeypatch.setattr("qdoctor.binaries.read_elf", never)
    monkeypatch.setattr("qdoctor.binaries.read_ld_cache", never)
    assert environment.read() == first


def test_paths_that_are_no_utf_8_or_no_paths_at_all_are_survived(
    environment: Environment,
) -> None:
    environment.install("ext", {"ext.so": made.elf((CUDART,), fatbin=SASS)})
    odd = os.fsencode(environment.root / "toolkit") + b"-\xff"
    Path(os.fsdecode(odd)).mkdir()
    made.write(Path(os.fsdecode(odd), CUDART), made.elf((), soname=CUDART))
    Path(os.fsdecode(os.fsencode(environment.site) + b"/odd\xff.so")).write_bytes(b"")
    with (environment.site / "ext-1.0.dist-info" / "RECORD").open("ab") as record:
        record.write(b"nul\0.so,,\nodd\xff.so,,\n")
    read = environment.read(LD_LIBRARY_PATH=os.fsdecode(odd))
    (library,) = read.libraries
    assert (library.resolved or {})[CUDART].endswith(f"toolkit-\ufffd/{CUDART}")
    msgspec.json.encode(read)


@given(st.binary(max_size=200))
def test_any_record_is_survived(data: bytes) -> None:
    for name in _record(data).files:
        assert name


def test_a_replaced_library_is_read_again(environment: Environment) -> None:
    environment.install("ext", {"ext.so": made.elf((), fatbin=SASS)})
    assert environment.listed()["ext.so"].sm == ["sm_80", "sm_90"]
    made.write(environment.site / "ext.so", made.elf((), fatbin=made.code((2, 120))))
    assert environment.listed()["ext.so"].sm == ["sm_120"]


def test_a_library_made_here_is_read_as_it_was_made(tmp_path: Path) -> None:
    path = made.write(
        tmp_path / "x.so", made.elf(("a.so", "b.so"), soname="x", rpath="/r:$ORIGIN", runpath="/u")
    )
    found = read_library(path)
    assert (found.needs, found.soname) == (("a.so", "b.so"), "x")
    assert (found.rpath, found.runpath) == (("/r", "$ORIGIN"), ("/u",))


def test_facts_with_the_new_keys_are_read_back(environment: Environment) -> None:
    with_torch(environment, WHEELS)
    libraries = environment.read().libraries
    again = msgspec.json.decode(msgspec.json.encode(libraries), type=type(libraries))
    assert len(again) == len(libraries)
