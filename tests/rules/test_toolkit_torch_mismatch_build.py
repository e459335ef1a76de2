"""toolkit-torch-mismatch-build: where it fires, where not, and where torch is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.diagnosis import diagnose
from qdoctor.model import Facts, Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "toolkit-torch-mismatch-build"
TEXT = (
    "RuntimeError: The detected CUDA version ({}) mismatches the version that was used to compile "
    "PyTorch ({}). Please make sure to use the same CUDA versions."
)


def first(text: str, **packages: str) -> Finding:
    return diagnose(Facts(packages=packages or None), error=text)[1][0]


def test_offers_a_torch_for_the_toolkit_and_a_toolkit_for_torch() -> None:
    found = first(TEXT.format("12.1", "11.8"), torch="2.1.2+cu118")
    assert (found.rule, found.severity) == (NAME, "error")
    assert [one.name for one in found.fixes][1:] == ["cuda-toolkit 11.8", "CUDA_HOME"]
    told = [(one.package, one.spec, one.index) for one in found.fixes if one.package]
    assert told == [("torch", "==2.1.2", "cu121"), ("cuda-toolkit", "==11.8.*", None)]


def test_an_unknown_torch_is_offered_any_release_with_that_build() -> None:
    builds = [one for one in first(TEXT.format("12.1", "11.8")).fixes if one.package == "torch"]
    assert [one.index for one in builds] == ["cu121"]


def test_torch_itself_asks_for_the_same_major_only() -> None:
    fix = first(TEXT.format("12.7", "11.8")).fixes[0]
    assert (fix.package, fix.index) == ("torch", "cu126")
    assert "same major" in fix.why


def test_offers_no_torch_for_a_toolkit_that_no_torch_is_built_for() -> None:
    for text in (TEXT.format("9.2", "11.8"), DEEPSPEED.format("12.7", "11.8", "")):
        assert "torch" not in {one.package for one in first(text).fixes}


def test_a_minor_mismatch_is_another_text(ask: Ask) -> None:
    text = "The detected CUDA version (12.4) has a minor version mismatch with the version that was"
    assert NAME not in ask("h100", error=text)


def test_is_silent_without_a_text(ask: Ask) -> None:
    assert NAME not in ask("h100", toolkit_cuda="11.8")


DEEPSPEED = "Installed CUDA version {} does not match the version torch was compiled with {}{}"


def test_the_sentence_counts_without_its_end() -> None:
    for end in (
        ", unable to compile cuda/cpp extensions without a matching cuda version.",
        "",
        ".",
    ):
        found = first(DEEPSPEED.format("12.1", "11.8", end), torch="2.1.2+cu118")
        assert found.rule == NAME
        assert "CUDA 12.1, while torch is built with CUDA 11.8" in found.title


def test_the_sibling_that_goes_on_is_no_build_that_stopped() -> None:
    for gap in (" ", "\n"):
        end = f" but{gap}since the APIs are compatible, accepting this combination"
        text = DEEPSPEED.format("11.6", "11.7", end)
        assert NAME not in {one.rule for one in diagnose(Facts(), error=text)[1]}


def test_a_title_names_the_toolkit_alone_and_the_facts_torchs_cuda() -> None:
    text = "Installed CUDA version 11.7 does not match torch version"
    found = diagnose(Facts(torch_cuda="12.1"), error=text)[1][0]
    assert found.rule == NAME
    assert "CUDA 11.7, while torch is built with CUDA 12.1" in found.title


def test_what_is_not_known_is_worded_so() -> None:
    text = "RuntimeError: The detected CUDA version (11.8) mismatches the version that was used"
    (finding,) = [one for one in diagnose(Facts(), error=text)[1] if one.rule == NAME]
    told = "an extension is compiled with CUDA 11.8, while torch is built with another CUDA"
    assert finding.title == told


def test_what_a_newer_nvcc_writes_an_older_runtime_does_not_have() -> None:
    text = "ImportError: /x/amp_C.cpython-36m.so: undefined symbol: __cudaPopCallConfiguration"
    assert diagnose(Facts(), error=text)[1][0].rule == NAME


def test_kernels_of_one_architecture_are_left_out_of_a_build_for_another() -> None:
    text = "ptxas error   : Instruction 'wgmma.fence' not supported on .target 'sm_120'"
    found = diagnose(Facts(), error=text)[1][0]
    assert (found.rule, found.fixes[0].name) == (NAME, "TORCH_CUDA_ARCH_LIST")
    text = "ptxas error   : Feature 'cp.async' requires .target sm_80 or higher"
    assert NAME not in {one.rule for one in diagnose(Facts(), error=text)[1]}


NINJA = "subprocess.CalledProcessError: Command '['ninja', '-v']' returned non-zero exit status 1."


def test_a_build_that_failed_is_of_another_toolkit_only_where_there_is_one() -> None:
    other = Facts(toolkit_cuda="11.8", torch_cuda="12.1")
    assert "CUDA 11.8, while torch" in diagnose(other, error=NINJA)[1][0].title
    same = Facts(toolkit_cuda="12.1", torch_cuda="12.1")
    assert NAME not in {one.rule for one in diagnose(same, error=NINJA)[1]}
    unsaid = diagnose(Facts(), error=NINJA)[1][0]
    assert (unsaid.rule, "first error" in unsaid.title) == (NAME, True)


def test_what_stopped_the_build_says_more_than_that_it_stopped() -> None:
    text = f"fatal error: Python.h: No such file or directory\n{NINJA}"
    assert diagnose(Facts(), error=text)[1][0].rule == "python-headers-missing"


def test_a_toolkit_of_torchs_own_version_lacks_a_part() -> None:
    facts = Facts(toolkit_cuda="12.1", torch_cuda="12.1")
    found = diagnose(facts, error="fatal error: cuda_fp8.h: No such file or directory")[1][0]
    assert found.rule == NAME
    assert "while" not in found.title
    assert [fix.action for fix in found.fixes] == ["install-system", "set-env"]


def test_one_release_is_named_as_one() -> None:
    builds = [one for one in first(TEXT.format("12.9", "11.8")).fixes if one.package == "torch"]
    assert [one.spec for one in builds] == ["==2.8.0"]
