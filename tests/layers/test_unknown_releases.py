"""A release that the matrix does not know is answered from its installed files, else unknown."""

from __future__ import annotations

from typing import Any

import pytest

from qdoctor import layers
from qdoctor.machine import complete
from qdoctor.matrix import shipped
from qdoctor.model import Facts, from_plain
from qdoctor.selection import judge

NEW: dict[str, Any] = {
    "host": {"os": "linux", "machine": "x86_64", "libc": "glibc 2.35", "c_compiler": True},
    "python": {"version": "3.11.7", "headers": True},
    "packages": {"torch": "99.0.0", "triton": "99.0.0"},
    "driver": {"version": "580.65.06", "cuda": "13.0"},
    "gpus": [{"index": 0, "name": "NVIDIA A100-SXM4-80GB"}],
}
READ: dict[str, Any] = {
    "requires": {"torch": ["triton==99.0.0; platform_system == 'Linux'"], "triton": []},
    "torch_cuda": "13.0",
    "torch_arch_list": ["sm_75", "sm_80"],
    "native": [{"package": "torch", "file": "libtorch_python.so", "glibc": "2.28"}],
}


def ask(layer: layers.Layer, **facts: Any) -> layers.Answer:  # noqa: ANN401 - any key of the facts
    machine = complete(from_plain({**NEW, **facts}, Facts, "test"), shipped())
    return layer(machine, shipped())


@pytest.mark.parametrize(
    "layer",
    [
        layers.torch_fits_python,
        layers.torch_fits_libc,
        layers.torch_has_cuda,
        layers.torch_has_sm,
        layers.triton_matches_pin,
        layers.driver_serves_torch,
    ],
)
def test_installed_files_answer(layer: layers.Layer) -> None:
    assert ask(layer).value == "unknown"
    answer = ask(layer, **READ)
    assert answer.value == "yes"
    assert {one.strength for one in answer.because} & {"inspected", "documented"}


def test_installed_files_also_say_no() -> None:
    old = {**NEW["host"], "libc": "glibc 2.17"}
    answer = ask(layers.torch_fits_libc, **READ, host=old)
    assert (answer.value, answer.rule) == ("no", "glibc-too-old")
    assert "libtorch_python.so" in answer.because[0].text
    other = {**READ, "torch_arch_list": ["sm_90"]}
    assert ask(layers.torch_has_sm, **other).rule == "torch-no-sm-binary"


def test_what_no_installed_file_says_stays_unknown() -> None:
    assert ask(layers.triton_fits_libc, **READ).value == "unknown"
    assert ask(layers.triton_libdevice_found, **READ).value == "unknown"


def test_a_new_torch_does_not_take_the_baseline_away() -> None:
    facts = from_plain({**NEW, **READ}, Facts, "test")
    verdicts = judge(complete(facts, shipped()), [], [], shipped())
    usable = {one.backend: one.usable for one in verdicts}
    assert usable["half"] == "yes"
    assert usable["qdoctor-switchback"] == "unknown"
