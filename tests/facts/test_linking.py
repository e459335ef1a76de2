"""Names of NVIDIA's libraries, and where Windows would find them; Linux is in ``test_native``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qdoctor.facts.linking import _told_to_musl, is_cuda, windows_resolver

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "name",
    [
        "libcudart.so.11.0",
        "libcublasLt.so.13",
        "libcuda.so.1",
        "cublasLt64_13.dll",
        "nvcuda.dll",
        "cudart64_12.dll",
        "libnvrtc-builtins.so.13.0",
        "libcudnn_ops.so.9",
    ],
)
def test_nvidia_s_names_are_known(name: str) -> None:
    assert is_cuda(name)


@pytest.mark.parametrize(
    "name", ["libc10_cuda.so", "libtorch_cuda.so", "libc.so.6", "libcurl.so.4"]
)
def test_other_names_are_not(name: str) -> None:
    assert not is_cuda(name)


def test_musl_has_a_file_of_its_folders(tmp_path: Path) -> None:
    assert _told_to_musl("x86_64", f"{tmp_path}/")[0] == f"{tmp_path}/lib"
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "ld-musl-x86_64.path").write_text("/lib:/opt/lib\n/more\n")
    assert _told_to_musl("x86_64", f"{tmp_path}/") == ("/lib", "/opt/lib", "/more")


def test_dlls_are_looked_for_beside_the_library_first(tmp_path: Path) -> None:
    for name in ("pkg/ext.pyd", "torch/lib/cublas64_12.dll", "pkg/CUDART64_12.dll"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"MZ")
    resolve = windows_resolver([str(tmp_path / "torch/lib")], {"PATH": "", "SystemRoot": "/none"})
    found = resolve(
        f"{tmp_path}/pkg/ext.pyd",
        ["cublas64_12.dll", "cudart64_12.dll", "nvcuda.dll", "KERNEL32.dll"],
    )
    assert found == {
        "cublas64_12.dll": f"{tmp_path}/torch/lib/cublas64_12.dll",
        "cudart64_12.dll": f"{tmp_path}/pkg/CUDART64_12.dll",
        "nvcuda.dll": "",
    }
