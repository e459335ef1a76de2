"""The shipped JSON Schemas agree with the nouns and with the contract's own examples."""

from __future__ import annotations

from typing import Any

import jsonschema
import msgspec
import pytest

from qdoctor.model import (
    Because,
    Facts,
    Finding,
    Fix,
    Gpu,
    Observation,
    Report,
    Target,
    Verdict,
    from_plain,
    to_json,
)
from qdoctor.schema import NOUNS, path, schema, text

CONTRACT_FACTS: dict[str, Any] = {
    "schema": "qdoctor/facts/1",
    "host": {"os": "linux", "machine": "x86_64", "libc": "glibc 2.35", "wsl": False},
    "python": {"version": "3.11.7", "executable": "/usr/bin/python3"},
    "packages": {"torch": "2.1.2+cu121", "triton": "2.1.0", "bitsandbytes": "0.41.1"},
    "torch_cuda": "12.1",
    "torch_arch_list": ["sm_70", "sm_80"],
    "toolkit_cuda": "12.4",
    "driver": {"version": "535.104.05", "cuda": "12.2"},
    "gpus": [
        {
            "index": 0,
            "name": "Tesla V100-SXM2-16GB",
            "sm": "7.0",
            "memory_mib": 16384,
            "vendor": "nvidia",
        },
    ],
    "env": {"BNB_CUDA_VERSION": "118"},
    "native": [
        {
            "package": "bitsandbytes",
            "file": "libbitsandbytes_cuda121.so",
            "sm": ["sm_70", "sm_80"],
            "ptx": [],
            "needs": ["libcublasLt.so.12"],
        },
    ],
}


def _validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema(name))


def _report() -> dict[str, Any]:
    because = [Because(text="SM 7.0", source="table sm", strength="documented")]
    fix = Fix(action="use", why="it works here", backend="bnb-nf4")
    report = Report(
        tool_version="0.1.0",
        matrix_version="2026.11.22",
        target=Target(kind="described", chosen_by="--facts"),
        facts=Facts(gpus=[Gpu(sm="7.0")]),
        observations=[
            Observation(probe="half_gemm", outcome="passed", numbers={"milliseconds": 1})
        ],
        findings=[Finding("no-cuda-gpu", "note", "No GPU", because=because, fixes=[fix])],
        verdicts=[Verdict(backend="half", usable="yes", reason="it runs anywhere")],
        selected=None,
        exit_code=0,
    )
    plain: dict[str, Any] = msgspec.json.decode(to_json(report))
    return plain


@pytest.mark.parametrize("name", sorted(NOUNS))
def test_the_shipped_file_is_drawn_from_the_nouns(name: str) -> None:
    assert path(name).read_text(encoding="utf-8") == text(name)


@pytest.mark.parametrize("name", sorted(NOUNS))
def test_it_is_a_valid_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(name))


@pytest.mark.parametrize("facts", [{}, CONTRACT_FACTS, {"packages": {"triton": ""}, "gpus": []}])
def test_facts_of_the_contract_are_valid_and_readable(facts: dict[str, Any]) -> None:
    _validator("facts").validate(facts)
    assert isinstance(from_plain(facts, Facts, "example"), Facts)


@pytest.mark.parametrize(
    "facts",
    [
        {"gpu": []},
        {"schema": "qdoctor/facts/2"},
        {"gpus": [{"sm": 7.0}]},
        {"packages": ["torch"]},
        {"driver": {"versions": "535"}},
    ],
)
def test_schema_and_reader_refuse_the_same_facts(facts: dict[str, Any]) -> None:
    assert not _validator("facts").is_valid(facts)
    with pytest.raises(Exception, match="example"):
        from_plain(facts, Facts, "example")


def test_a_report_is_valid() -> None:
    _validator("report").validate(_report())


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("observations", "outcome", "exploded"),
        ("findings", "severity", "fatal"),
        ("verdicts", "usable", "maybe"),
    ],
)
def test_the_closed_words_of_a_report_stay_closed(section: str, key: str, value: str) -> None:
    report = _report()
    report[section][0][key] = value
    assert not _validator("report").is_valid(report)


@pytest.mark.parametrize("key", ["observations", "findings", "verdicts", "exit_code", "selected"])
def test_a_report_without_a_promised_part_is_refused(key: str) -> None:
    report = _report()
    del report[key]
    assert not _validator("report").is_valid(report)
