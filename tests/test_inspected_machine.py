"""A real environment of one H100, all its libraries read: 863 native files, 58 that link CUDA.

torch 2.11+cu130 with NVIDIA's wheels, bitsandbytes 0.50.2, torchao 0.18.0, cupy, jax, torchvision
and torchaudio, and a toolkit in /usr/local/cuda whose copies lose against the wheels'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from qdoctor.diagnosis import diagnose
from qdoctor.model import Driver, Facts, Finding, Gpu, Host, Report, from_json

if TYPE_CHECKING:
    from pathlib import Path

ABOUT_LIBRARIES = {
    *("torch-no-sm-binary", "bnb-no-sm-binary", "no-sm-binary", "ptx-newer-than-driver"),
    *("bnb-cuda-libs-not-found", "cuda-libs-not-found", "libcuda-not-found", "glibc-too-old"),
    *("bnb-source-build-incomplete",),
}


@pytest.fixture
def facts(machines: Path) -> Facts:
    name = "h100-inspected"
    return from_json((machines / f"{name}.json").read_bytes(), Report, name).facts


def found(facts: Facts) -> list[Finding]:
    return [one for one in diagnose(facts)[1] if one.rule in ABOUT_LIBRARIES]


def test_a_healthy_environment_gets_no_finding_about_its_libraries(facts: Facts) -> None:
    assert found(facts) == []


def test_the_copy_that_wins_is_the_wheel_s(facts: Facts) -> None:
    (loaded,) = [one for one in facts.native or [] if one.file == "libbitsandbytes_cuda130.so"]
    assert {file.split("/site-packages/")[-1] for file in (loaded.resolved or {}).values()} == {
        f"nvidia/cu13/lib/{name}.so.13" for name in ("libcudart", "libcublas", "libcublasLt")
    }
    assert all("/usr/local/cuda" in file for file in (loaded.shadowed or {}).values())


def test_for_an_older_gpu_every_package_without_kernels_is_named(facts: Facts) -> None:
    volta = [Gpu(index=0, name="Tesla V100-SXM2-16GB", sm="7.0", vendor="nvidia")]
    findings = found(msgspec.structs.replace(facts, gpus=volta))
    titles = {one.title: one.severity for one in findings if one.rule == "no-sm-binary"}
    assert titles == {
        "torchao holds no kernels for SM 7.0": "note",
        "cupy-cuda13x holds no kernels for SM 7.0": "warning",
        "jax-cuda13-pjrt holds no kernels for SM 7.0": "warning",
        "jax-cuda13-plugin holds no kernels for SM 7.0": "warning",
        "torchaudio holds no kernels for SM 7.0": "warning",
        "torchvision holds no kernels for SM 7.0": "warning",
    }
    assert {one.rule for one in findings} >= {"torch-no-sm-binary", "bnb-no-sm-binary"}


def test_for_a_newer_minor_the_code_of_the_older_one_serves(facts: Facts) -> None:
    a10 = [Gpu(index=0, name="NVIDIA A10", sm="8.6", vendor="nvidia")]
    titles = [one.title for one in found(msgspec.structs.replace(facts, gpus=a10))]
    assert titles == ["torchao holds no kernels for SM 8.6"]


def test_on_an_older_system_its_libraries_do_not_load(facts: Facts) -> None:
    old = msgspec.structs.replace(facts.host or Host(), libc="glibc 2.12", glibcxx="3.4.13")
    assert "glibc-too-old" in {one.rule for one in found(msgspec.structs.replace(facts, host=old))}


def test_without_the_driver_s_library_the_gpu_is_out_of_reach(facts: Facts) -> None:
    hidden = msgspec.structs.replace(facts.driver or Driver(), libcuda="")
    (only,) = found(msgspec.structs.replace(facts, driver=hidden))
    assert only.rule == "libcuda-not-found"
    assert "--gpus all" in only.fixes[0].why


def test_without_the_new_keys_the_opinion_is_the_same(facts: Facts) -> None:
    bare = [
        msgspec.structs.replace(
            one, path=None, glibcxx=None, ptx_isa=None, resolved=None, shadowed=None
        )
        for one in facts.native or []
    ]
    older = msgspec.structs.replace(facts, native=bare)
    assert [one.rule for one in diagnose(older)[1]] == [one.rule for one in diagnose(facts)[1]]
