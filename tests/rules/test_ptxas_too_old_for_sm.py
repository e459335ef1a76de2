"""ptxas-too-old-for-sm: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.diagnosis import diagnose
from qdoctor.model import Facts, Finding, Gpu, Observation

Ask = Callable[..., dict[str, Finding]]

NAME = "ptxas-too-old-for-sm"

BLACKWELL = [{"index": 0, "name": "NVIDIA GeForce RTX 5090", "sm": "12.0", "vendor": "nvidia"}]
OLD = {"torch": "2.1.2+cu121", "triton": "2.1.0"}


def test_fires_on_a_gpu_that_is_too_new(ask: Ask) -> None:
    found = ask("h100", gpus=BLACKWELL, packages=OLD, torch_cuda="12.1")[NAME]
    assert (found.fixes[0].action, found.fixes[0].name) == ("set-env", "TRITON_PTXAS_PATH")


def test_on_windows_no_torch_pins_the_triton_that_is_upgraded(ask: Ask) -> None:
    packages = {"torch": "2.7.0+cu128", "triton": "3.2.0"}
    found = ask("h100", host={"os": "windows"}, gpus=BLACKWELL, packages=packages, native=None)
    first = found[NAME].fixes[0]
    assert (first.action, first.package) == ("upgrade", "triton-windows")
    assert first.applicability == "safe"


def test_a_text_accuses_where_triton_is_unknown(ask: Ask) -> None:
    text = "ptxas fatal   : Value 'sm_121a' is not defined for option 'gpu-name'"
    packages = {"torch": None, "triton": None}
    found = ask("h100", error=text, gpus=BLACKWELL, packages=packages, torch_cuda=None)
    assert found[NAME].explains_error


def test_any_failure_of_ptxas_is_not_its_age_where_every_triton_knows_the_gpu() -> None:
    """On a T4 it is bf16 that ptxas refuses; on an RTX 5090 ptxas may be too old."""
    text = "RuntimeError: Internal Triton PTX codegen error"
    told = {}
    for sm in ("7.5", "8.6", "12.0"):
        facts = Facts(gpus=[Gpu(index=0, sm=sm)])
        told[sm] = [one.rule for one in diagnose(facts, error=text)[1] if one.explains_error]
    assert told == {"7.5": ["bf16-needs-sm80"], "8.6": [], "12.0": [NAME]}
    exact = "ptxas fatal   : Value 'sm_75' is not defined for option 'gpu-name'"
    facts = Facts(gpus=[Gpu(index=0, sm="7.5")])
    assert diagnose(facts, error=exact)[1][0].rule == NAME


def test_is_silent_on_a_gpu_that_is_known(ask: Ask) -> None:
    assert NAME not in ask("h100")


def test_is_silent_where_triton_is_unknown(ask: Ask) -> None:
    packages = {"torch": None, "triton": None}
    assert NAME not in ask("h100", gpus=BLACKWELL, packages=packages, torch_cuda=None)


def tried(
    outcome: str, code: str | None = None, sm: float | None = 12.0, *, ran: bool = True
) -> Observation:
    return Observation(
        probe="triton_toolchain",
        variant="ptxas",
        outcome=outcome,  # type: ignore[arg-type]
        code=code,
        detail="ptxas 12.4 does not know SM 12.0",
        numbers={} if sm is None else {"sm": sm},
        ran=ran,
    )


def test_a_newer_one_named_by_hand_refutes_the_data(ask: Ask) -> None:
    machine = {"gpus": BLACKWELL, "packages": OLD, "torch_cuda": "12.1"}
    assert NAME not in ask("h100", observations=(tried("passed"),), **machine)


def test_an_older_one_named_by_hand_is_found(ask: Ask) -> None:
    found = ask("h100", observations=(tried("failed", NAME, 9.0),))
    assert found[NAME].because[0].strength == "observed"
    assert not {"probe-failed", "probe-contradicts-matrix"} & found.keys()


def test_a_ptxas_that_was_not_asked_for_this_gpu_leaves_it_to_the_data(ask: Ask) -> None:
    machine = {"gpus": BLACKWELL, "packages": OLD, "torch_cuda": "12.1"}
    others = (tried("passed", sm=None), tried("passed", sm=8.0), tried("passed", ran=False))
    for seen in others:
        assert NAME in ask("h100", observations=(seen,), **machine)


def test_a_text_is_kept_where_the_data_knows_better(ask: Ask) -> None:
    text = "ptxas fatal   : Value 'sm_90' is not defined for option 'gpu-name'"
    found = ask("h100", error=text)[NAME]
    assert (found.explains_error, found.fixes[0].name) == (True, "TRITON_PTXAS_PATH")


def test_the_second_ptxas_has_a_variable_of_its_own(ask: Ask) -> None:
    text = "ptxas-blackwell fatal   : Value 'sm_120a' is not defined for option 'gpu-name'"
    found = ask("h100", error=text, gpus=BLACKWELL, packages=OLD, torch_cuda="12.1")[NAME]
    assert found.fixes[0].name == "TRITON_PTXAS_BLACKWELL_PATH"


def test_an_llvm_that_does_not_know_the_gpu_asks_for_a_newer_triton_first(ask: Ask) -> None:
    text = "'sm_120' is not a recognized processor for this target (ignoring processor)"
    found = ask("h100", error=text, gpus=BLACKWELL, packages=OLD, torch_cuda="12.1")[NAME]
    assert (found.fixes[0].action, found.fixes[0].package) == ("upgrade", "triton")
    assert found.fixes[0].applicability == "unsafe"


def test_where_tritons_own_compiler_does_not_know_the_gpu_no_ptxas_helps() -> None:
    text = 'Assertion `false && "computeCapability not supported"\' failed.'
    found = diagnose(Facts(), error=text)[1][0]
    assert (found.rule, found.fixes[0].action, found.fixes[0].package) == (
        NAME,
        "upgrade",
        "triton",
    )


def test_a_ptxas_that_failed_says_for_which_gpu_it_was_called() -> None:
    text = "Command '/x/ptxas -v --gpu-name=sm_120 /tmp/a.ptx' returned non-zero exit status 255."
    found = diagnose(Facts(gpus=[Gpu(index=0, sm="12.0")]), error=text)[1]
    assert (found[0].rule, found[0].explains_error) == (NAME, True)
