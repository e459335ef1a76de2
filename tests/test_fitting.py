"""A command leaves the packages beside it working."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from qdoctor import diagnose
from qdoctor.fitting import fitted
from qdoctor.machine import complete
from qdoctor.matrix import shipped
from qdoctor.model import Action, Facts, Fix, Gpu, Host, Python, from_plain
from qdoctor.rules.remedies import pip, system_package, torch_build

INDEX = "https://download.pytorch.org/whl"
LINUX: dict[str, Any] = {"os": "linux", "machine": "x86_64"}
WINDOWS: dict[str, Any] = {"os": "windows", "machine": "AMD64"}


def command(fix: Fix, packages: dict[str, str] | None = None, **facts: object) -> str | None:
    return fit(fix, packages, **facts).command


def fit(fix: Fix, packages: dict[str, str] | None = None, **facts: object) -> Fix:
    stated = {"packages": packages or {}, **facts}
    machine = complete(from_plain(stated, Facts, "facts"), shipped())
    return fitted(fix, machine, shipped())


def offer(action: Action, package: str, spec: str = "") -> Fix:
    return pip(action, package, spec, "it helps", verify="x")


@pytest.mark.parametrize("name", ["apex", "nunchaku", "triton-kernels", "triton_kernels"])
def test_another_project_of_that_name_is_not_installed(name: str) -> None:
    fix = fit(offer("install", name))
    assert (fix.command, fix.applicability) == (None, "display-only")
    assert "under this name" in fix.why


def test_what_is_there_under_that_name_can_be_taken_away() -> None:
    assert command(offer("uninstall", "apex")) == "python -m pip uninstall -y apex"


@pytest.mark.parametrize("package", ["flash-attn", "flash_attn", "mamba-ssm", "causal-conv1d"])
def test_what_is_built_is_built_beside_the_torch_that_is_there(package: str) -> None:
    told = command(offer("upgrade", package))
    assert told == f"python -m pip install --upgrade --no-build-isolation {package}"


@pytest.mark.parametrize("package", ["triton", "torchvision", "torchaudio", "xformers", "vllm"])
def test_the_release_that_is_there_is_installed_anew(package: str) -> None:
    told = command(offer("reinstall", package), {package: "0.19.1"})
    assert told == f'python -m pip install --force-reinstall --no-deps "{package}==0.19.1"'


def test_a_torch_is_installed_anew_from_where_it_was() -> None:
    told = command(offer("reinstall", "torch"), {"torch": "2.4.0+cu118"}, host=LINUX)
    assert told == (
        f'python -m pip install --force-reinstall --no-deps "torch==2.4.0" '
        f"--index-url {INDEX}/cu118"
    )


@pytest.mark.parametrize("package", ["torch", "triton-windows", "torchvision", "vllm"])
def test_no_newest_release_is_put_beside_an_unknown_torch(package: str) -> None:
    fix = fit(offer("reinstall", package))
    assert fix.command is None
    assert f"pip show {package}" in fix.why


def test_torch_brings_the_one_triton_that_it_requires() -> None:
    told = command(offer("reinstall", "triton"))
    assert told == "python -m pip uninstall -y triton && python -m pip install torch"
    told = command(offer("reinstall", "triton"), {"torch": "2.6.0"}, host=LINUX)
    assert told == 'python -m pip install --force-reinstall --no-deps "triton==3.2.0"'


def test_what_goes_with_no_torch_may_be_the_newest() -> None:
    told = command(offer("reinstall", "bitsandbytes"))
    assert told == 'python -m pip install --force-reinstall --no-deps "bitsandbytes"'


def test_what_follows_torch_moves_along() -> None:
    stated = {"torch": "2.4.0", "torchvision": "0.19.0", "torchaudio": "2.4.0", "timm": "1.0"}
    told = command(offer("upgrade", "torch", ">=2.6"), stated, host=LINUX)
    assert told == 'python -m pip install --upgrade "torch>=2.6" torchaudio torchvision'


def test_what_follows_is_named_exactly_where_torch_is() -> None:
    stated = {"torch": "2.5.1", "torchvision": "0.20.1", "torchaudio": "2.5.1"}
    build = torch_build("==2.5.1", "cu118", "the driver serves it", verify="x")
    assert command(build, stated, host=LINUX) == (
        'python -m pip install "torch==2.5.1+cu118" "torchaudio==2.5.1+cu118" '
        f'"torchvision==0.20.1+cu118" --index-url {INDEX}/cu118'
    )
    assert command(build, {"torch": "2.5.1"}, host={"os": "linux", "machine": "aarch64"}) == (
        f'python -m pip install --force-reinstall "torch==2.5.1" --index-url {INDEX}/cu118'
    )


def test_what_torch_requires_is_not_renewed_where_torch_moves_anyway() -> None:
    build = torch_build(">=2.6.0,<2.8.0", "cu118", "the driver serves it", verify="x")
    plain = f'python -m pip install "torch>=2.6.0,<2.8.0" --index-url {INDEX}/cu118'
    assert command(build, {"torch": "2.4.0+cpu"}, host=LINUX) == plain
    for stated in ({}, {"torch": "2.6.0+cpu"}):
        assert "--force-reinstall" in (command(build, stated, host=LINUX) or "")


def test_a_build_whose_files_are_missing_is_installed_anew() -> None:
    build = torch_build("==2.5.1", "cu118", "it brings its libraries along", verify="x")
    assert "--force-reinstall" in (command(build, {"torch": "2.5.1+cu118"}, host=LINUX) or "")


def test_nothing_follows_where_torch_stays() -> None:
    stated = {"torch": "2.5.1+cu118", "torchvision": "0.20.1", "xformers": "0.0.29"}
    fix = fit(offer("reinstall", "torch"), stated, host=LINUX)
    assert fix.command is not None
    assert "torchvision" not in fix.command
    assert "xformers" not in fix.why


def test_what_was_compiled_for_the_torch_that_goes_is_named() -> None:
    stated = {"torch": "2.4.0", "flash-attn": "2.6.3", "xformers": "0.0.27.post2", "jax": "0.4"}
    fix = fit(offer("upgrade", "torch", ">=2.6"), stated, host=LINUX)
    assert "xformers and flash-attn must go with the torch that comes" in fix.why
    assert "jax" not in fix.why
    told = msgspec.structs.replace(
        offer("upgrade", "torch", ">=2.6"), why="xformers was built for it"
    )
    assert "flash-attn must go" in fit(told, stated, host=LINUX).why


def test_a_torch_for_windows_has_cuda_where_its_gpu_is_used() -> None:
    fix = offer("upgrade", "torch", ">=2.7.0")
    for stated in (
        {"gpus": [{"name": "NVIDIA GeForce RTX 4090"}]},
        {"driver": {"cuda": "12.8"}},
        {},
    ):
        told = fit(fix, host=WINDOWS, **stated)
        assert told.index is not None
        assert told.index.startswith("cu12")
        assert (told.command or "").endswith(f" --index-url {INDEX}/{told.index}")
    assert fit(offer("install", "torch", "==2.2.0"), host=WINDOWS).index == "cu121"
    plain = 'python -m pip install --upgrade "torch>=2.7.0"'
    assert command(fix, host=WINDOWS, gpus=[]) == plain
    assert command(fix, {"torch": "2.6.0"}, host=WINDOWS) == plain


def test_a_gpu_that_the_default_build_left_behind_gets_one_that_serves_it() -> None:
    fix = offer("upgrade", "torch", ">=2.3")
    pascal = [{"name": "Tesla P4", "sm": "6.1"}]
    assert fit(fix, host=LINUX, gpus=pascal).index == "cu126"
    assert fit(fix, gpus=pascal).index == "cu126"
    ada = [{"name": "NVIDIA GeForce RTX 4090"}]
    assert fit(fix, host=LINUX, gpus=ada).index is None
    assert fit(fix, host=LINUX, gpus=ada, driver={"cuda": "12.2"}).index == "cu126"


@pytest.mark.parametrize(
    "facts",
    [
        {"packages": {"torch": "2.8.0+rocm6.4"}},
        {"gpus": [{"name": "AMD Radeon RX 7900 XTX"}]},
        {"packages": {"torch": "2.5.0a0+872d972e41.nv24.08"}},
    ],
)
def test_a_torch_of_another_maker_has_no_command(facts: dict[str, Any]) -> None:
    fix = fit(offer("upgrade", "torch", ">=2.9"), host=LINUX, **facts)
    assert (fix.command, fix.applicability) == (None, "display-only")


def test_linux_shells_are_asked_on_linux_only() -> None:
    fix = system_package("gcc", "apt-get install gcc", "it compiles", verify="x")
    assert command(fix, host=LINUX) == "apt-get install gcc"
    assert command(fix) == "apt-get install gcc"
    assert command(fix, host=WINDOWS) is None
    assert command(fix, host={"os": "macos"}) is None


def test_a_variable_is_set_otherwise_on_windows() -> None:
    build = 'TORCH_CUDA_ARCH_LIST="8.6" python -m pip install --no-binary x "x==1.0"'
    fix = Fix("rebuild", "it has kernels", "unsafe", "x", command=build)
    assert command(fix, host=LINUX) == build
    assert command(fix, host=WINDOWS) is None


@pytest.mark.parametrize(
    ("action", "package", "spec", "facts"),
    [
        ("upgrade", "bitsandbytes", ">=0.49.0", {"python": {"version": "3.9"}}),
        ("upgrade", "transformers", ">=5.0.0", {"python": {"version": "3.8.10"}}),
        ("install-matching", "triton", "==3.0.0", {"host": {"os": "linux", "machine": "aarch64"}}),
        ("reinstall", "triton", "==3.0.0", {"host": WINDOWS}),
    ],
)
def test_no_command_where_no_release_has_a_wheel(
    action: Action, package: str, spec: str, facts: dict[str, Any]
) -> None:
    fix = fit(offer(action, package, spec), **facts)
    assert (fix.command, fix.applicability) == (None, "display-only")
    assert f"no release of {package}{spec} has a wheel for" in fix.why


def test_what_the_matrix_does_not_know_is_not_refused() -> None:
    old = offer("downgrade", "transformers", "<4.12.5")
    assert command(old, python={"version": "3.8"}) == (
        'python -m pip install "transformers<4.12.5"'
    )


@pytest.mark.parametrize(
    ("action", "spec", "there"),
    [("downgrade", "<2", True), ("install", "", True), ("upgrade", "", False)],
)
def test_releases_that_are_not_on_the_index_are_not_asked_of_it(
    action: Action, spec: str, *, there: bool
) -> None:
    assert (command(offer(action, "sageattention", spec)) is not None) is there


def test_a_build_from_an_index_that_lacks_it_is_none() -> None:
    fix = fit(offer("reinstall", "sageattention"), {"sageattention": "2.2.0"})
    assert fix.command is None
    assert "releases up to 1.0.6" in fix.why


def unsafe(action: Action, spec: str) -> Fix:
    return pip(action, "triton", spec, "it knows it", verify="x", applicability="unsafe")


def test_no_other_triton_comes_than_torch_requires() -> None:
    told = command(unsafe("upgrade", ">=3.2.0"), {"torch": "2.7.0", "triton": "3.1.0"}, host=LINUX)
    assert told == 'python -m pip install --upgrade "triton==3.3.0"'


def test_torch_moves_with_the_triton_that_it_requires() -> None:
    told = command(unsafe("upgrade", ">=3.6.0"), {"torch": "2.9.0"}, host=LINUX)
    assert told == 'python -m pip install --upgrade "triton>=3.6.0" "torch>=2.10.0"'
    told = command(unsafe("downgrade", "<3.0.0"), {"torch": "2.9.0+cu126"}, host=LINUX)
    assert told == (
        f'python -m pip install "triton<3.0.0" "torch>=2.0.0,<2.4.0" --index-url {INDEX}/cu121'
    )
    assert command(unsafe("upgrade", ">=3.6.0")) == (
        'python -m pip install --upgrade "triton>=3.6.0" "torch>=2.10.0"'
    )


def test_a_triton_that_no_torch_requires_is_not_put_beside_one() -> None:
    fix = fit(unsafe("downgrade", "<2.0.0"), {"torch": "2.1.2"}, host=LINUX)
    assert fix.command is None
    assert "no release of torch requires such a triton" in fix.why


def test_triton_for_windows_is_not_torchs_to_choose() -> None:
    fix = pip("upgrade", "triton-windows", ">=3.3.0", "it knows it", verify="x")
    assert command(fix, host=WINDOWS) == fix.command


def test_torch_is_not_renewed_for_its_triton() -> None:
    fix = Fix("install-matching", "torch brings it", "unsafe", "triton")
    whole = msgspec.structs.replace(fix, command="python -m pip install --force-reinstall torch")
    assert command(whole) == "python -m pip uninstall -y triton && python -m pip install torch"


def test_a_build_of_ones_own_is_replaced_by_the_release() -> None:
    told = command(offer("downgrade", "triton", "==3.4.0"), {"triton": "3.4.0+git32a9fe3"})
    assert told == 'python -m pip install --force-reinstall --no-deps "triton==3.4.0"'


def test_a_development_state_is_on_no_index() -> None:
    fix = fit(offer("reinstall", "transformers", "==4.57.0.dev0"))
    assert fix.command is None


def test_a_python_that_no_build_is_for_gets_no_command() -> None:
    build = torch_build(">=2.6.0", "cu126", "it holds kernels", verify="x")
    assert command(build, host=LINUX, python={"version": "3.6"}) is None
    assert command(build, host=LINUX, python={"version": "3.11"}) == build.command


def test_releases_that_a_package_never_had_are_not_asked_for() -> None:
    old = pip("downgrade", "triton-windows", "==2.1.*", "torch is made for it", verify="x")
    assert "3.1.0.post17" in fit(old, host=WINDOWS).why
    assert command(old, host=WINDOWS) is None
    text = fit(offer("upgrade", "flashinfer-cubin", ">=0.6.14"))
    assert text.command is None
    assert "0.6.13" in text.why


def test_wheels_for_one_system_are_for_that_alone() -> None:
    fix = offer("install", "intel-extension-for-pytorch")
    assert command(fix, host=LINUX) == 'python -m pip install "intel-extension-for-pytorch"'
    assert command(fix, host=WINDOWS) is None


def test_an_upgrade_leaves_the_installed_torch_where_it_is() -> None:
    newer = offer("upgrade", "bitsandbytes", ">=0.43.0")
    fix = fit(newer, {"torch": "2.1.2+cu118"}, host=WINDOWS)
    assert fix.command == 'python -m pip install --upgrade "bitsandbytes>=0.43.0,<0.46.0"'
    assert fix.spec == ">=0.43.0,<0.46.0"
    assert command(newer, {"torch": "2.9.0"}, host=LINUX) == newer.command
    assert command(newer, host=LINUX) == newer.command
    exact = fit(offer("upgrade", "xformers"), {"torch": "2.7.0"}, host=LINUX)
    assert exact.command == 'python -m pip install --upgrade "xformers<0.0.31"'


def test_what_requires_another_torch_is_not_put_beside_this_one() -> None:
    fix = fit(offer("upgrade", "bitsandbytes", ">=0.49.0"), {"torch": "2.2.0"}, host=LINUX)
    assert fix.command is None
    assert "another torch than 2.2.0" in fix.why
    newest = {"torch": "2.7.0", "xformers": "0.0.30"}
    assert command(offer("upgrade", "xformers"), newest, host=LINUX) is None
    assert command(offer("downgrade", "xformers", "<0.0.30"), newest, host=LINUX) is None


def test_what_no_release_has_a_wheel_for_here_never_comes_first() -> None:
    text = "ERROR: No matching distribution found for bitsandbytes==0.44.1"
    for python, first in (("3.7", "rebuild"), ("3.12", "upgrade")):
        facts = Facts(
            host=Host(os="linux", machine="aarch64"),
            python=Python(version=python),
            packages={"torch": ""},
        )
        found = next(one for one in diagnose(facts, text).findings if one.explains_error)
        assert (found.rule, found.fixes[0].action) == ("bnb-platform-unsupported", first)
        assert {"rebuild", "upgrade"} <= {one.action for one in found.fixes}


def test_no_wheel_is_offered_for_a_board_whose_gpu_none_has_code_for() -> None:
    facts = Facts(
        host=Host(os="linux", machine="aarch64"),
        python=Python(version="3.10"),
        gpus=[Gpu(index=0, name="Jetson TX2", sm="6.2", vendor="nvidia")],
    )
    found = diagnose(facts, "ERROR: No matching distribution found for bitsandbytes==0.43.1")
    assert found.findings[0].fixes[0].action == "rebuild"
    assert "upgrade" not in {one.action for one in found.findings[0].fixes}
