from __future__ import annotations

import shlex

import msgspec
import pytest

from qdoctor.commands import written_for
from qdoctor.machine import Machine, complete
from qdoctor.matrix import shipped
from qdoctor.model import Facts, Fix, Python
from qdoctor.rules.remedies import by_hand, pip, torch_build, use

UPGRADE = pip("upgrade", "bitsandbytes", ">=0.45.1", "it has the kernel", verify="x")
NEWEST = pip("upgrade", "trl", "", "it has the name", verify="x")
OLDER = pip("downgrade", "peft", "<0.10", "it has the name", verify="x")
ANEW = pip("reinstall", "bitsandbytes", "==0.45.1", "it is damaged", verify="x")
BUILD = torch_build(">=2.6.0,<2.15.0", "cu126", "the driver serves it", verify="x")
INDEX = "https://download.pytorch.org/whl/cu126"
GONE = Fix(
    action="uninstall",
    why="it shadows",
    package="bitsandbytes-windows",
    command="python -m pip uninstall -y bitsandbytes-windows",
)


def machine(
    manager: str | None = None, *, packages: tuple[str, ...] = (), **more: object
) -> Machine:
    python = msgspec.convert({"manager": manager, **more}, Python)
    facts = Facts(python=python, packages=dict.fromkeys(("torch", *packages), "1.0"))
    return complete(facts, shipped())


def written(fix: Fix, patient: Machine, interpreter: str | None = None) -> str | None:
    return written_for(fix, patient, interpreter).command


@pytest.mark.parametrize("manager", [None, "pip", "conda", "mamba", "something-new"])
@pytest.mark.parametrize("fix", [UPGRADE, ANEW, BUILD, GONE])
def test_a_tool_that_is_not_known_leaves_pip_as_it_is(manager: str | None, fix: Fix) -> None:
    assert written_for(fix, machine(manager)) == fix


@pytest.mark.parametrize(
    ("fix", "command"),
    [
        (
            UPGRADE,
            (
                "uv pip install --python /v/bin/python --upgrade-package bitsandbytes "
                '"bitsandbytes>=0.45.1"'
            ),
        ),
        (NEWEST, "uv pip install --python /v/bin/python --upgrade-package trl trl"),
        (OLDER, 'uv pip install --python /v/bin/python "peft<0.10"'),
        (
            ANEW,
            'uv pip install --python /v/bin/python --reinstall --no-deps "bitsandbytes==0.45.1"',
        ),
        (
            BUILD,
            (
                'uv pip install --python /v/bin/python --reinstall "torch>=2.6.0,<2.15.0" '
                f"--index-url {INDEX}"
            ),
        ),
        (GONE, "uv pip uninstall --python /v/bin/python bitsandbytes-windows"),
    ],
)
def test_an_environment_of_uv_has_no_pip_of_its_own(fix: Fix, command: str) -> None:
    assert written(fix, machine("uv", executable="/v/bin/python")) == command


@pytest.mark.parametrize(
    ("fix", "command"),
    [
        (UPGRADE, 'uv add --project /p --upgrade-package bitsandbytes "bitsandbytes>=0.45.1"'),
        (NEWEST, "uv add --project /p --upgrade-package trl trl"),
        (ANEW, "uv sync --project /p --reinstall-package bitsandbytes"),
        (BUILD, f'uv add --project /p "torch>=2.6.0,<2.15.0" --index pytorch-cu126={INDEX}'),
        (GONE, "uv pip uninstall --python /p/.venv/bin/python bitsandbytes-windows"),
    ],
)
def test_a_project_of_uv_keeps_its_lock_file_true(fix: Fix, command: str) -> None:
    patient = machine("uv", executable="/p/.venv/bin/python", project="/p")
    assert written(fix, patient) == command


@pytest.mark.parametrize(
    ("fix", "command"),
    [
        (UPGRADE, 'poetry add --directory /p "bitsandbytes>=0.45.1"'),
        (NEWEST, "poetry add --directory /p trl@latest"),
        (
            ANEW,
            (
                "poetry run --directory /p python -m pip install --force-reinstall --no-deps "
                '"bitsandbytes==0.45.1"'
            ),
        ),
        (
            BUILD,
            (
                f"poetry source add --directory /p --priority=explicit pytorch-cu126 {INDEX} && "
                'poetry add --directory /p --source pytorch-cu126 "torch>=2.6.0,<2.15.0"'
            ),
        ),
    ],
)
def test_poetry_keeps_its_lock_file_true(fix: Fix, command: str) -> None:
    assert written(fix, machine("poetry", project="/p")) == command


def test_poetry_without_a_known_project_works_in_its_folder() -> None:
    assert written(UPGRADE, machine("poetry")) == 'poetry add "bitsandbytes>=0.45.1"'


@pytest.mark.parametrize(
    ("fix", "command"),
    [
        (UPGRADE, 'pixi add --pypi --manifest-path /p "bitsandbytes>=0.45.1"'),
        (NEWEST, "pixi upgrade --manifest-path /p trl"),
        (ANEW, "pixi reinstall --manifest-path /p bitsandbytes"),
        (GONE, "pixi remove --pypi --manifest-path /p bitsandbytes-windows"),
    ],
)
def test_pixi_takes_wheels_of_the_index(fix: Fix, command: str) -> None:
    assert written(fix, machine("pixi", project="/p")) == command


def test_pixi_has_no_command_for_an_index_so_the_line_is_given() -> None:
    fix = written_for(BUILD, machine("pixi", project="/p"))
    assert (fix.command, fix.applicability) == (None, "display-only")
    assert f'torch = {{ version = ">=2.6.0,<2.15.0", index = "{INDEX}" }}' in fix.why


def test_the_systems_python_is_left_alone() -> None:
    fix = written_for(
        UPGRADE, machine("pip", executable="/usr/bin/python3", externally_managed=True)
    )
    assert "PEP 668" in fix.why
    assert fix.command == (
        "/usr/bin/python3 -m venv --system-site-packages .venv && "
        '.venv/bin/python -m pip install --upgrade "bitsandbytes>=0.45.1"'
    )


def test_a_systems_package_is_not_taken_away_by_pip() -> None:
    fix = written_for(GONE, machine("pip", externally_managed=True))
    assert (fix.command, fix.applicability) == (None, "display-only")
    assert "PEP 668" in fix.why


@pytest.mark.parametrize("packages", [(), ("pip",)])
def test_a_named_interpreter_is_the_one_that_is_changed(packages: tuple[str, ...]) -> None:
    command = written(BUILD, machine("pip", packages=packages), "/v/bin/python")
    head = "/v/bin/python -m pip" if packages else "python -m pip --python /v/bin/python"
    assert command == (
        f'{head} install --force-reinstall "torch>=2.6.0,<2.15.0" --index-url {INDEX}'
    )


@pytest.mark.parametrize("path", ["/a b/$(id)/py", "/x;y/python", "/it's/python", '/a"b/python'])
def test_a_path_is_one_word_whatever_it_holds(path: str) -> None:
    command = written(UPGRADE, machine("pip", packages=("pip",)), path)
    assert command is not None
    assert shlex.split(command)[:3] == [path, "-m", "pip"]
    command = written(UPGRADE, machine("uv", executable=path))
    assert command is not None
    assert shlex.split(command)[3:5] == ["--python", path]


def test_a_path_of_windows_keeps_its_backslashes() -> None:
    for path, word in ((r"C:\v\python.exe", r"C:\v\python.exe"), (r"C:\a b\py", r'"C:\a b\py"')):
        command = written(UPGRADE, machine("uv", executable=path))
        assert command is not None
        assert command.startswith(f"uv pip install --python {word} --upgrade-package bitsandbytes ")


@pytest.mark.parametrize(
    "fix",
    [
        use("bnb-nf4", "it runs here"),
        by_hand("upgrade-driver", "the driver is too old"),
        Fix(action="run", why="it reads it", command="python -m qdoctor matrix mine"),
        Fix(
            action="upgrade",
            why="the matrix is old",
            package="qdoctor",
            command="python -m pip install --upgrade qdoctor",
        ),
    ],
)
def test_what_does_not_change_the_environment_stays(fix: Fix) -> None:
    patient = machine("uv", executable="/v/bin/python", externally_managed=True)
    assert written_for(fix, patient, "/v/bin/python") == fix


def test_an_option_that_only_pip_is_known_to_take_keeps_pip() -> None:
    command = 'python -m pip install --no-binary :all: "bitsandbytes==0.45.1"'
    fix = msgspec.structs.replace(UPGRADE, command=command)
    assert written_for(fix, machine("poetry", project="/p")) == fix
    assert written(fix, machine("uv", executable="/v/bin/python")) == (
        'uv pip install --python /v/bin/python --no-binary :all: "bitsandbytes==0.45.1"'
    )


BUILT = msgspec.structs.replace(
    NEWEST, command='python -m pip install --upgrade --no-build-isolation "flash-attn"'
)
STEPS = msgspec.structs.replace(
    GONE, command="python -m pip uninstall -y triton && python -m pip install torch"
)
FOR_THIS_GPU = msgspec.structs.replace(
    ANEW, command='TORCH_CUDA_ARCH_LIST="8.6" python -m pip install --no-binary x "x==1.0"'
)


def test_uv_moves_only_what_is_asked_for_also_with_further_options() -> None:
    assert written(BUILT, machine("uv", executable="/v/bin/python")) == (
        "uv pip install --python /v/bin/python --upgrade-package flash-attn "
        "--no-build-isolation flash-attn"
    )


def test_each_of_several_steps_is_written_for_the_tool() -> None:
    assert written(STEPS, machine("uv", executable="/v/bin/python")) == (
        "uv pip uninstall --python /v/bin/python triton && "
        "uv pip install --python /v/bin/python torch"
    )
    assert written(STEPS, machine("pip", packages=("pip",)), "/v/bin/python") == (
        "/v/bin/python -m pip uninstall -y triton && /v/bin/python -m pip install torch"
    )
    kept = written_for(STEPS, machine("pip", externally_managed=True))
    assert (kept.command, kept.applicability) == (None, "display-only")


def test_a_variable_stays_before_the_command() -> None:
    assert written(FOR_THIS_GPU, machine("pip", packages=("pip",)), "/v/bin/python") == (
        'TORCH_CUDA_ARCH_LIST="8.6" /v/bin/python -m pip install --no-binary x "x==1.0"'
    )


def test_poetry_lets_go_of_what_it_holds_to() -> None:
    both = msgspec.structs.replace(
        BUILD, command=f'python -m pip install "torch>=2.6.0" torchvision --index-url {INDEX}'
    )
    assert (written(both, machine("poetry")) or "").endswith(
        '--source pytorch-cu126 "torch>=2.6.0" torchvision@latest'
    )
