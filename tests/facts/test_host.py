"""Host, container, toolkit and environment, from files laid out below a folder."""

from __future__ import annotations

import json
import os
import platform
from typing import TYPE_CHECKING

import pytest

from qdoctor.facts import host
from qdoctor.facts.toolkit import cuda_version, read_toolkit

if TYPE_CHECKING:
    from pathlib import Path


def put(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("file", "text", "kind"),
    [
        (".dockerenv", "", "docker"),
        ("run/.containerenv", "engine=podman\n", "podman"),
        ("var/run/secrets/kubernetes.io/serviceaccount/namespace", "default", "kubernetes"),
        ("run/systemd/container", "systemd-nspawn\n", "systemd-nspawn"),
        ("proc/1/cgroup", "12:cpu:/kubepods/burstable/pod1/abc\n", "kubernetes"),
        ("proc/1/cgroup", "0::/lxc/web\n", "lxc"),
        ("proc/1/cgroup", "0::/init.scope\n", ""),
    ],
)
def test_kinds_of_containers(file: str, text: str, kind: str, tmp_path: Path) -> None:
    put(tmp_path / file, text)
    assert host.container({}, tmp_path) == kind


def test_kubernetes_is_named_before_the_runtime_below_it(tmp_path: Path) -> None:
    put(tmp_path / ".dockerenv")
    assert host.container({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, tmp_path) == "kubernetes"


def test_wsl_shows_in_the_kernels_name(tmp_path: Path) -> None:
    assert host.is_wsl(tmp_path) is False
    put(tmp_path / "proc/sys/kernel/osrelease", "5.15.153.1-microsoft-standard-WSL2\n")
    assert host.is_wsl(tmp_path) is True


CPUINFO = """processor\t: {number}
vendor_id\t: GenuineIntel
flags\t\t: fpu sse2 {flags}
bugs\t\t: spectre_v1

"""


def test_vector_extensions_are_those_of_the_first_processor(tmp_path: Path) -> None:
    entries = [
        CPUINFO.format(number=number, flags="fma avx512_bf16 avx avx512f amx_tile avx2")
        for number in range(300)
    ]
    put(tmp_path / "proc/cpuinfo", "".join(entries))
    found = host.cpu_features(tmp_path)
    assert found == ["amx_tile", "avx", "avx2", "avx512_bf16", "avx512f"]


def test_an_x86_cpu_without_vector_extensions_is_known_to_have_none(tmp_path: Path) -> None:
    put(tmp_path / "proc/cpuinfo", CPUINFO.format(number=0, flags="mmx"))
    assert host.cpu_features(tmp_path) == []


@pytest.mark.parametrize("text", [None, "", "processor\t: 0\nFeatures\t: fp asimd sve\n"])
def test_vector_extensions_that_are_not_listed_are_unknown(
    text: str | None, tmp_path: Path
) -> None:
    if text is not None:
        put(tmp_path / "proc/cpuinfo", text)
    assert host.cpu_features(tmp_path) is None


def test_this_host() -> None:
    found = host.read_host({}, c_compiler=True)
    assert found.machine == platform.machine()
    assert found.os in {"linux", "windows", "macos"}
    assert found.c_compiler is True


def test_the_interpreters_c_library_is_taken_as_it_answered() -> None:
    assert host.libc_version("glibc 2.17") == "glibc 2.17"
    assert host.libc_version(None) is None


def test_a_musl_loader_is_asked_for_its_version(tmp_path: Path) -> None:
    loader = put(
        tmp_path / "ld-musl-x86_64.so.1",
        "#!/bin/sh\nprintf 'musl libc (x86_64)\\nVersion 1.2.4\\n' >&2\nexit 1\n",
    )
    loader.chmod(0o755)
    assert host.libc_version(f"musl {loader}") == "musl 1.2.4"
    assert host.libc_version(f"musl {tmp_path}/gone") == "musl"


def test_only_relevant_variables_are_told_and_never_a_secret() -> None:
    environ = {
        "BNB_CUDA_VERSION": "118",
        "CUDA_VISIBLE_DEVICES": "0",
        "TRITON_PTXAS_PATH": "/x",
        "LD_LIBRARY_PATH": "/y",
        "PYTHONPATH": "/z",
        "HF_TOKEN": "hf_1",
        "NVIDIA_API_KEY": "nvapi-1",
        "NVIDIA_REQUIRE_CUDA": "cuda>=13.0 brand=unknown,driver>=535,driver<536",
        "CUDA_REGISTRY_PASSWORD": "p",
        "TORCH_HUB_TOKEN": "t",
        "AWS_SECRET_ACCESS_KEY": "s",
        "HOME": "/home/me",
        "USER": "me",
    }
    assert sorted(host.relevant(environ)) == [
        "BNB_CUDA_VERSION",
        "CUDA_VISIBLE_DEVICES",
        "LD_LIBRARY_PATH",
        "PYTHONPATH",
        "TRITON_PTXAS_PATH",
    ]


def test_a_value_that_is_no_text_can_still_be_written() -> None:
    found = host.relevant({"LD_LIBRARY_PATH": os.fsdecode(b"/caf\xe9")})
    assert json.loads(json.dumps(found))["LD_LIBRARY_PATH"] == "/caf\ufffd"


def test_a_toolkit_tells_its_version_by_its_files(tmp_path: Path) -> None:
    version = json.dumps({"cuda": {"name": "CUDA SDK", "version": "12.4.20240305"}})
    put(tmp_path / "12/version.json", version)
    put(tmp_path / "10/version.txt", "CUDA Version 10.2.89\n")
    include = tmp_path / "conda/targets/x86_64-linux/include"
    put(include / "cuda_runtime_api.h", "#define CUDART_VERSION  11080\n")
    for folder, expected in (("12", "12.4"), ("10", "10.2"), ("conda", "11.8")):
        environ = {"CUDA_HOME": str(tmp_path / folder), "PATH": ""}
        assert read_toolkit(environ, root=tmp_path) == (expected, None)


def test_nvcc_on_path_leads_to_its_toolkit_through_links(tmp_path: Path) -> None:
    nvcc = put(tmp_path / "usr/local/cuda-12.6/bin/nvcc")
    nvcc.chmod(0o755)
    put(nvcc.parents[1] / "version.json", '{"cuda": {"version": "12.6.1"}}')
    put(tmp_path / "usr/local/cuda/version.json", '{"cuda": {"version": "11.1.0"}}')
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/nvcc").symlink_to(nvcc)
    assert read_toolkit({"PATH": str(tmp_path / "bin")}, root=tmp_path) == ("12.6", None)
    assert read_toolkit({"PATH": ""}, root=tmp_path) == ("11.1", None)


def test_no_toolkit_is_known_to_be_none_and_a_silent_one_unknown(tmp_path: Path) -> None:
    assert read_toolkit({"PATH": "", "CUDA_HOME": str(tmp_path / "x")}, root=tmp_path) == ("", None)
    put(tmp_path / "usr/local/cuda/version.json", "{broken")
    version, reason = read_toolkit({"PATH": ""}, root=tmp_path)
    assert version is None
    assert "no file there states" in (reason or "")


def test_cudas_integer_versions() -> None:
    assert [cuda_version(n) for n in (12040, 11080, 13000, 9020)] == ["12.4", "11.8", "13.0", "9.2"]
