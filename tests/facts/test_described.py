"""Described machines: good ones are read, and each bad one says what is wrong with it."""

from __future__ import annotations

import codecs
import io
import json
from typing import TYPE_CHECKING

import pytest

from qdoctor.facts import described
from qdoctor.model import BadInput, Facts, Gpu, Observation, Report, Target, to_json

if TYPE_CHECKING:
    from pathlib import Path

REPORT = Report(
    tool_version="0",
    matrix_version="2026.01.01",
    target=Target("described", "a test"),
    facts=Facts(packages={"torch": "2.1.2"}),
    observations=[Observation("half_gemm", "passed")],
    findings=[],
    verdicts=[],
    selected=None,
    exit_code=0,
)


def refused(data: bytes) -> str:
    with pytest.raises(BadInput) as caught:
        described.read("-", io.BytesIO(data))
    return str(caught.value)


def test_facts_come_from_a_file_or_standard_input(tmp_path: Path) -> None:
    text = '{"schema": "qdoctor/facts/1", "packages": {"Open_CLIP.torch": "2.24.0"}}'
    (tmp_path / "facts.json").write_text(text)
    expected = Facts(schema="qdoctor/facts/1", packages={"open-clip-torch": "2.24.0"})
    assert described.read(str(tmp_path / "facts.json")) == (expected, [])
    assert described.read("-", io.BytesIO(text.encode())) == (expected, [])


def test_every_key_is_optional() -> None:
    assert described.read("-", io.BytesIO(b"{}")) == (Facts(), [])


def test_a_report_is_replayed_with_its_observations() -> None:
    read = described.read("-", io.BytesIO(to_json(REPORT).encode()))
    assert read == (REPORT.facts, REPORT.observations)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_what_powershell_writes_is_read(encoding: str) -> None:
    data = '{"torch_cuda": "12.1"}'.encode(encoding)
    assert data.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    assert described.read("-", io.BytesIO(data))[0].torch_cuda == "12.1"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"torch 2.1.2\n", "not JSON"),
        (b'{"packages": ', "not JSON"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"\xff\xfe\xfa", "not UTF-8"),
        (b'{"env": {"A": "\xe9"}}', "not UTF-8"),
        (b'{"schema": "qdoctor/facts/2"}', "'qdoctor/facts/2'"),
        (b'{"schema": 1}', "its schema is 1"),
        (b'{"schema": ["a"]}', "its schema is"),
        (b'{"schema": "qdoctor/report/1"}', "required field"),
        (b'{"pakages": {}}', "unknown field `pakages`"),
        (b'{"gpus": [{"nam": "x"}]}', "$.gpus[0]"),
        (b'{"packages": ["torch"]}', "$.packages"),
        (b'{"packages": {"torch": 2.1}}', "$.packages"),
        (b'{"gpus": [{"sm": "sm_86"}]}', "gpus[0].sm is 'sm_86'"),
        (b'{"gpus": [{"memory_mib": -1}]}', "negative"),
        (b'{"packages": {"open_clip": "1", "open-clip": "2"}}', "two versions"),
        (b'{"packages": {"torch": "2.%s"}}' % (b"9" * 5000), "a thousand digits"),
        (b'{"driver": {"cuda": "%s"}}' % (b"9" * 5000), "a thousand digits"),
        ('{"gpus": [{"sm": "８.６"}]}'.encode(), "a compute capability looks like"),  # noqa: RUF001
        (b"[" * 200_000, "nested too deeply"),
        (b'{"facts":' * 200_000, "nested too deeply"),
    ],
)
def test_a_bad_description_says_what_is_wrong(data: bytes, said: str) -> None:
    message = refused(data)
    assert said in message
    assert message.startswith("--facts: standard input")


def test_too_large_a_file_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(BadInput, match="larger than 16 MiB"):
        described.read(str(large))


@pytest.mark.parametrize("name", ["", "missing.json", "a\0b"])
def test_what_cannot_be_opened_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        described.read(f"{tmp_path}/{name}")  # "" names the folder itself


def test_missing_standard_input_is_refused() -> None:
    with pytest.raises(BadInput, match="there is none"):
        described.read("-", None)


def test_facts_survive_json_and_back() -> None:
    facts = Facts(gpus=[Gpu(index=0, mig="1g.5gb"), Gpu(mig=False)], torch_arch_list=[])
    again, _ = described.read("-", io.BytesIO(to_json(facts).encode()))
    assert again == facts
    assert "torch_cuda" not in json.loads(to_json(facts))
