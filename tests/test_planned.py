from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from qdoctor import planned
from qdoctor.matrix import shipped
from qdoctor.model import BadInput, Facts, Host, Python
from qdoctor.plan import Plan

if TYPE_CHECKING:
    from pathlib import Path

HOST = Host(os="linux", machine="x86_64", libc="glibc 2.35")
NOTHING = {"torch": "", "triton": "", "bitsandbytes": ""}


def here(python: str = "3.11.7", host: Host = HOST, **installed: str) -> Facts:
    """A Linux machine with nothing installed but ``installed``."""
    return Facts(host=host, python=Python(version=python), packages={**NOTHING, **installed})


def read(*specs: str, files: tuple[str, ...] = (), facts: Facts | None = None) -> Plan:
    return planned.read(specs, files, facts or here(), shipped())


def test_nothing_planned() -> None:
    assert planned.read((), (), Facts(), shipped()) == Plan()


def test_an_exact_pin_is_taken_as_it_is_known_or_not() -> None:
    plan = read("bitsandbytes==0.99.0", "Torch_Ao===0.1.weird", "torch == 2.5.1+cu121")
    assert plan.packages["bitsandbytes"] == "0.99.0"
    assert plan.packages["torch-ao"] == "0.1.weird"
    assert plan.packages["torch"] == "2.5.1+cu121"
    assert plan.doubts == ["the matrix does not know bitsandbytes 0.99.0"]
    assert plan.unjudged == ["torch-ao"]


@pytest.mark.parametrize(
    ("spec", "version"),
    [
        ("bitsandbytes<0.46", "0.45.5"),
        ("bitsandbytes~=0.44.0", "0.44.1"),
        ("bitsandbytes==0.44.*", "0.44.1"),
        ("bitsandbytes>=0.44,!=0.44.1,<0.45", "0.44.0"),
    ],
)
def test_a_loose_spec_becomes_the_newest_known_release_and_says_so(spec: str, version: str) -> None:
    plan = read(spec)
    assert plan.packages["bitsandbytes"] == version
    assert any(line.startswith(spec) and version in line for line in plan.assumptions)


def test_torch_brings_the_triton_that_it_pins() -> None:
    plan = read("torch==2.0.1")
    assert plan.packages == {"torch": "2.0.1", "triton": "2.0.0"}
    assert "torch 2.0.1 brings triton 2.0.0, which it pins" in plan.assumptions


def test_torch_brings_no_triton_where_its_marker_excludes_it() -> None:
    plan = read("torch==2.5.1", facts=here(host=Host(os="windows", machine="x86_64")))
    assert plan.packages == {"torch": "2.5.1"}


def test_a_release_is_chosen_that_accepts_the_other_pins() -> None:
    """bitsandbytes requires torch>=2.2 from 0.46.0 on: 0.45.5 is the newest for torch 2.0.1."""
    plan = read("bitsandbytes", "torch==2.0.1")
    assert plan.packages == {"torch": "2.0.1", "triton": "2.0.0", "bitsandbytes": "0.45.5"}


def test_a_release_without_a_wheel_for_this_python_is_passed_over() -> None:
    """torch 2.4.1 is the last one with wheels for Python 3.8."""
    assert read("torch", facts=here("3.8.18")).packages["torch"] == "2.4.1"


def test_a_release_without_a_wheel_for_this_libc_is_passed_over() -> None:
    """From 2.7.0 on torch's wheels are tagged manylinux_2_28."""
    old = here(host=Host(os="linux", machine="x86_64", libc="glibc 2.17"))
    assert read("torch", facts=old).packages["torch"] == "2.6.0"


def test_a_triton_decides_which_torch_an_installer_takes() -> None:
    """Of the releases that pin triton 2.0.0, torch 2.0.1 is the newest."""
    assert read("torch", "triton==2.0.0").packages["torch"] == "2.0.1"


def test_what_is_installed_and_fits_stays() -> None:
    there = here(torch="2.7.1+cu126", triton="3.3.1", bitsandbytes="0.46.0")
    plan = read("bitsandbytes>=0.45", facts=there)
    assert plan.packages == {"bitsandbytes": "0.46.0"}
    assert any("is installed and fits: it stays" in line for line in plan.assumptions)


def test_a_triton_alone_leaves_an_installed_torch_alone() -> None:
    """As pip does: it warns that torch requires another one, and installs it."""
    plan = read("triton>=2.1.0,<3", facts=here(torch="2.0.1", triton="2.0.0"))
    assert plan.packages == {"triton": "2.3.1"}
    assert plan.problems == []


def test_contradicting_pins_are_a_problem_and_judged_as_asked() -> None:
    plan = read("torch==2.0.1", "triton==2.1.0")
    assert [one.package for one in plan.problems] == ["triton"]
    assert "torch 2.0.1 requires triton==2.0.0" in plan.problems[0].text
    assert plan.packages == {"torch": "2.0.1", "triton": "2.1.0"}


def test_no_wheel_is_a_problem_with_the_nearest_release() -> None:
    (problem,) = read("torch==2.0.1", facts=here("3.12.1")).problems
    assert problem.spec == "==2.2.0"


@pytest.mark.parametrize("build", ["cu126", "cu128"])
def test_a_build_of_torch_brings_what_its_release_brings(build: str) -> None:
    """cu126 lies beside the package index, cu128 is the default of 2.9.1."""
    plan = read(f"torch==2.9.1+{build}")
    assert plan.packages == {"torch": f"2.9.1+{build}", "triton": "3.5.1"}
    assert (plan.problems, plan.doubts) == ([], [])


@pytest.mark.parametrize(
    "spec", ["torch==2.9.1+CU126", "torch==v2.9.1+cu126", "torch===2.9.1+CU126"]
)
def test_a_pin_is_written_in_any_form_that_pep_440_allows(spec: str) -> None:
    plan = read(spec)
    assert plan.packages["torch"] == "2.9.1+cu126"
    assert not plan.doubts


def test_a_build_that_is_not_known_is_not_taken_for_good() -> None:
    plan = read("torch==2.9.1+cu999")
    assert plan.packages["torch"] == "2.9.1+cu999"
    assert "cu999" in plan.doubts[0]


def test_a_build_that_is_not_published_for_this_system_is_a_problem() -> None:
    arm = here(host=Host(os="linux", machine="aarch64", libc="glibc 2.35"))
    assert "cu126" in read("torch==2.9.1+cu126", facts=arm).problems[0].text


def test_an_index_in_a_file_chooses_the_build(tmp_path: Path) -> None:
    """cu121 was published up to torch 2.5.1."""
    path = tmp_path / "requirements.txt"
    path.write_text("--index-url https://index.example/whl/cu121\ntorch\n")
    plan = read(files=(str(path),))
    assert plan.packages == {"torch": "2.5.1+cu121", "triton": "3.1.0"}


WHEEL = "torch @ https://index.example/torch-2.5.1%2Bcu121-cp310-cp310-linux_x86_64.whl"


def test_a_wheel_is_judged_as_the_release_that_its_name_tells() -> None:
    plan = read(WHEEL, facts=here("3.10.12"))
    assert plan.packages == {"torch": "2.5.1+cu121", "triton": "3.1.0"}
    assert (plan.problems, plan.doubts) == ([], [])
    assert f"{WHEEL}: judged as torch 2.5.1+cu121, by the name of the wheel" in plan.assumptions
    assert not any("comes from the index" in line for line in plan.assumptions)


def test_a_wheel_for_another_python_is_a_problem_and_the_one_of_the_index_its_fix() -> None:
    (problem,) = read(WHEEL).problems
    assert problem.text.startswith("the wheel of torch 2.5.1+cu121 is for another Python (cp310")
    assert problem.spec == "==2.5.1"  # the build is told by the index of the command


def test_a_wheel_of_a_package_that_is_not_judged_has_to_fit_too() -> None:
    spec = "https://index.example/flash_attn-2.7.3-cp310-cp310-linux_x86_64.whl"
    assert read(spec, "torch==2.5.1", facts=here("3.10.12")).problems == []
    plan = read(spec, "torch==2.5.1")
    assert "the wheel of flash-attn 2.7.3 is for another Python" in plan.problems[0].text
    assert plan.packages["triton"] == "3.1.0"


def test_a_file_counts_where_the_index_has_none() -> None:
    """bitsandbytes 0.41.1 has no library for Windows on the index; others built one."""
    windows = here(host=Host(os="windows", machine="x86_64"))
    assert read("torch==2.5.1+cu121", facts=here(host=Host(os="linux", machine="aarch64"))).problems
    plan = read(
        "./torch-2.5.1+cu121-cp311-cp311-linux_aarch64.whl",
        facts=here(host=Host(os="linux", machine="aarch64", libc="glibc 2.35")),
    )
    assert plan.problems == []
    (problem,) = read("./torch-2.5.1-cp311-cp311-linux_x86_64.whl", facts=windows).problems
    assert (
        problem.text
        == "the wheel of torch 2.5.1 is not for windows x86_64 (it is for linux_x86_64)"
    )


def test_whether_sources_build_is_not_known() -> None:
    plan = read("./bitsandbytes-0.45.5.tar.gz")
    assert plan.packages["bitsandbytes"] == "0.45.5"
    assert "whether it builds here is not known" in plan.doubts[0]


def test_a_known_package_from_a_repository_stays_unknown_and_is_a_doubt() -> None:
    plan = read("git+https://github.com/pytorch/torch@v2.5.1", "bitsandbytes==0.45.5")
    assert plan.packages == {"torch": "?", "bitsandbytes": "0.45.5"}
    assert plan.doubts[0].endswith("write torch==2.5.1 to have it judged")
    assert plan.unjudged == []


def test_a_repository_by_another_name_is_passed_over() -> None:
    plan = read("git+https://github.com/x/unheard-of.git", "bitsandbytes==0.45.5")
    assert "unheard-of" not in plan.packages
    assert any("which package it installs is not told" in line for line in plan.assumptions)


def test_much_that_is_not_judged_is_said_in_one_line() -> None:
    plan = read(*[f"p{number} @ file:///croot/p{number}" for number in range(9)], "torch")
    (said,) = [line for line in plan.assumptions if "not judged" in line]
    assert said.startswith("the matrix knows no release of p0, p1, ")


def test_constraints_bound_what_is_asked_for_and_what_that_brings(tmp_path: Path) -> None:
    (tmp_path / "bounds.txt").write_text("torch<2.5\npeft==0.10.0\nnumpy<2\n")
    path = tmp_path / "requirements.txt"
    path.write_text("bitsandbytes>=0.43\ntorch\n-c bounds.txt\n")
    assert read(files=(str(path),)).packages["torch"] == "2.4.1"
    path.write_text("bitsandbytes>=0.45\n-c bounds.txt\n")
    assert read(files=(str(path),)).packages.keys() == {"bitsandbytes", "torch", "triton"}
    assert read(files=(str(path),)).packages["torch"] == "2.4.1"
    path.write_text("torch>=2.6\n-c bounds.txt\n")
    with pytest.raises(BadInput, match=r"torch>=2.6.*torch<2.5"):
        read(files=(str(path),))


def test_constraints_that_are_not_here_leave_open_what_they_decide(tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    line = "-c https://index.example/constraints.txt"
    path.write_text(f"bitsandbytes==0.45.5\ntorch\n{line}\n")
    plan = read(files=(str(path),))
    assert plan.packages == {"bitsandbytes": "0.45.5", "torch": "?"}
    assert f"({line}): constraints are not fetched, and which torch they allow" in plan.doubts[0]
    path.write_text(f"bitsandbytes==0.45.5\ntorch==2.5.1\n{line}\n")
    plan = read(files=(str(path),))
    assert (plan.packages["torch"], plan.doubts) == ("2.5.1", [])
    assert any("taken to allow what is pinned" in said for said in plan.assumptions)


def test_a_package_unknown_to_the_matrix_keeps_an_unknown_version() -> None:
    plan = read("leftpad>=1")
    assert plan.packages == {"leftpad": "?"}
    assert plan.unjudged == ["leftpad"]
    assert "no release of leftpad" in plan.assumptions[0]


@pytest.mark.parametrize(
    ("specs", "said"),
    [
        (("bitsandbytes>=99",), r"it knows 0\.3\d\.\d+ to "),
        (("torch<2", "torch>=2.1"), "no release of torch"),
        (("bitsandbytes=0.42",), "is no requirement"),
        (("-r",), "is no requirement"),
        (("",), "is no requirement"),
        (("bitsandbytes==0.42.0", "bitsandbytes==0.43.0"), "planned twice"),
        (("leftpad==1", "leftpad==2"), "planned twice"),
        (("torch==2.1.0", "leftpad==1", "leftpad==2"), "planned twice, as 1 and as 2"),
        (("x==1; nothing == '1'",), "is no requirement"),
    ],
)
def test_what_cannot_be_planned_is_refused(specs: tuple[str, ...], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        read(*specs)


def test_markers_apply_to_the_examined_machine() -> None:
    windows = Facts(host=Host(os="windows"), python=Python(version="3.9.1"))
    plan = read(
        "a==1; sys_platform == 'win32'",
        "b==1; sys_platform == 'linux'",
        "c==1; python_version < '3.10'",
        "d==1; extra == 'dev'",
        facts=windows,
    )
    assert plan.packages == {"a": "1", "c": "1"}
    assert "not for this machine" in plan.assumptions[0]


def test_resolving_ends_soon_where_nothing_fits_together() -> None:
    """Every torch from 2.1 on pins another triton than 2.0.0, bitsandbytes multiplies the tries."""
    start = time.perf_counter()
    plan = read("torch>=2.1", "triton==2.0.0", "bitsandbytes")
    assert plan.problems
    assert time.perf_counter() - start < 20


def test_only_cuda_builds_of_torch_bring_the_released_triton() -> None:
    """The METADATA of torch 2.13.0+cpu requires no triton."""
    plan = read("torch==2.13.0+cpu")
    assert plan.packages == {"torch": "2.13.0+cpu"}
    assert (plan.problems, plan.doubts) == ([], [])
    assert "cpu" in read("torch==2.12.0+cpu").doubts[0], "that build is not in the data"
