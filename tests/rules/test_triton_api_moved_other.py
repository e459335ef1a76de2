"""triton-api-moved-other: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "triton-api-moved-other"


def test_fires_where_an_import_asks_for_a_name_of_a_newer_triton(ask: Ask) -> None:
    packages = {"torch": "2.0.1+cu117", "triton": "2.0.0", "bitsandbytes": "0.45.1"}
    found = ask("a100", packages=packages, torch_cuda="11.7")[NAME]
    assert found.severity == "error"  # bitsandbytes cannot be imported, whoever asks
    assert "bnb-nf4" in found.affects
    assert found.fixes[0].package == "bitsandbytes"


def test_is_silent_on_a_triton_with_every_name(ask: Ask) -> None:
    assert NAME not in ask("h100")


def test_is_silent_where_triton_is_unknown(ask: Ask) -> None:
    packages = {"torch": None, "triton": None}
    assert NAME not in ask("a100", packages=packages, torch_cuda=None)


OWN = "AttributeError: module 'triton._C.libtriton.triton.runtime' has no attribute '{}'"


def test_triton_asks_its_own_library_in_vain(ask: Ask) -> None:
    packages = {"torch": "2.0.1+cu117", "triton": "2.0.0", "bitsandbytes": None}
    for name in ("num_sm", "clock_rate"):
        error = OWN.format(name)
        found = next(iter(ask("a100", error=error, packages=packages, torch_cuda="11.7").values()))
        assert (found.rule, found.undecided, found.explains_error) == (NAME, None, True)
        assert [(fix.package, fix.spec) for fix in found.fixes[:2]] == [
            ("torch", ">=2.1"),
            ("triton", ">=2.1.0"),
        ]


def test_a_name_that_no_file_of_triton_asks_for_is_of_two_installs(ask: Ask) -> None:
    assert NAME not in ask("h100", error=OWN.format("nowhere"))


def test_a_source_that_is_assigned_is_whispers(ask: Ask) -> None:
    text = "AttributeError: Cannot set attribute 'src' directly. Use '_unsafe_update_src()'"
    fix = ask("h100", error=text)[NAME].fixes[0]
    assert (fix.action, fix.package, fix.spec) == ("upgrade", "openai-whisper", ">=20250625")


def test_deepspeeds_quantizer_was_not_tried_with_this_triton(ask: Ask) -> None:
    text = "FP Quantizer is using an untested triton version (3.1.0), only 2.3.0 are known"
    assert ask("h100", error=text)[NAME].fixes[0].package == "deepspeed"
