"""Whether what a release computes wrongly strikes here: by release, device, system and CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from qdoctor.layers import Answer, Layer, bnb_4bit_of_any_size
from qdoctor.layers.wrong_results import rows_of, spared
from qdoctor.matrix import Matrix, shipped

if TYPE_CHECKING:
    from qdoctor.machine import Machine

Ask = Callable[..., Answer]

AVX512 = ["avx2", "avx512f"]
STRUCK: dict[str, Any] = {
    "packages": {"torch": "2.13.0+cpu", "triton": "", "bitsandbytes": "0.50.2"},
    "gpus": [],
    "host": {"os": "linux", "machine": "x86_64", "cpu_features": AVX512},
}


def changed(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any key of the facts
    return {
        key: {**STRUCK[key], **changes[key]} if key in changes else STRUCK[key] for key in STRUCK
    }


def test_it_strikes_the_releases_that_were_seen_on_a_cpu_with_avx512(ask: Ask) -> None:
    answer = ask(bnb_4bit_of_any_size, **STRUCK)
    assert (answer.value, answer.rule) == ("no", "bnb-version-regression")
    assert "bitsandbytes 0.50.2" in answer.because[0].text
    assert answer.because[0].strength == "observed"


@pytest.mark.parametrize("version", ["0.47.0", "0.48.2", "0.50.3"])
def test_it_spares_other_releases(version: str, ask: Ask) -> None:
    packages = {"bitsandbytes": version}
    assert ask(bnb_4bit_of_any_size, **changed(packages=packages)).value == "yes"


@pytest.mark.parametrize(
    "host", [{"cpu_features": ["avx2"]}, {"cpu_features": []}, {"os": "windows"}]
)
def test_it_spares_other_cpus_and_systems(host: dict[str, Any], ask: Ask) -> None:
    assert ask(bnb_4bit_of_any_size, **changed(host=host)).value == "yes"


def test_it_spares_a_machine_that_uses_its_gpu(ask: Ask) -> None:
    gpus = [{"index": 0, "name": "NVIDIA H200"}]
    answer = ask(bnb_4bit_of_any_size, **{**STRUCK, "gpus": gpus})
    assert answer.value == "yes"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"host": {"cpu_features": None}}, "host.cpu_features"),
        ({"host": {"os": None}}, "operating system"),
        ({"packages": {"bitsandbytes": "?"}}, "version is not known"),
    ],
)
def test_what_decides_and_is_not_known_leaves_it_open(
    changes: dict[str, Any], reason: str, ask: Ask
) -> None:
    answer = ask(bnb_4bit_of_any_size, **changed(**changes))
    assert answer.value == "unknown"
    assert reason in answer.reason


def test_unknown_gpus_leave_it_open(ask: Ask) -> None:
    nothing = {**STRUCK, "gpus": None, "driver": None}
    assert ask(bnb_4bit_of_any_size, **nothing).value == "unknown"


def of(package: str, what: str) -> Layer:
    row = next(one for one in rows_of(shipped(), package) if what in one["what"])

    def asked(machine: Machine, matrix: Matrix) -> Answer:
        return spared(machine, matrix, row)

    return asked


def test_the_weights_gradient_is_wrong_on_gpus_only(ask: Ask) -> None:
    gradient = of("bitsandbytes", "gradient")
    packages = {"bitsandbytes": "0.50.2"}
    assert ask(gradient, packages=packages).value == "no"
    assert ask(gradient, packages={"bitsandbytes": "0.44.1"}).value == "yes"
    assert ask(gradient, packages=packages, gpus=[]).value == "yes"
    volta = [{"index": 0, "name": "Tesla V100-SXM2-16GB"}]
    assert "does not run at all" in ask(gradient, packages=packages, gpus=volta).reason


def test_where_nothing_is_said_it_strikes_everywhere(ask: Ask) -> None:
    training = of("torchao", "training")
    for gpus in ([], [{"index": 0, "name": "NVIDIA H200"}], None):
        assert ask(training, packages={"torchao": "0.18.0"}, gpus=gpus).value == "no"
    assert ask(training, packages={"torchao": "0.14.1"}).value == "yes"
    assert ask(training, packages={"torchao": ""}).value == "unknown"
