"""The whole collection, for real interpreters and for those that do not start."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from qdoctor.facts import collect, described, find_target
from qdoctor.facts.target import interpreter_in
from qdoctor.model import BadInput, Target, to_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_our_own_environment(environ: dict[str, str]) -> None:
    facts = collect(find_target(sys.executable, environ), environ)
    assert facts.host is not None
    assert facts.python is not None
    assert facts.host.c_compiler in {True, False}
    assert facts.python.version == sys.version.split()[0]
    assert facts.packages is not None
    assert facts.packages["msgspec"]
    assert facts.driver is not None


def test_the_torch_and_bitsandbytes_that_tests_bring(environ: dict[str, str]) -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed here")
    facts = collect(find_target(sys.executable, environ), environ)
    ask = (
        "import torch, json; print(json.dumps("
        "[str(torch.__version__), torch.version.cuda or '', torch.cuda.get_arch_list()]))"
    )
    said = subprocess.run([sys.executable, "-c", ask], check=True, capture_output=True, env=environ)
    assert facts.packages is not None
    assert [facts.packages["torch"], facts.torch_cuda, facts.torch_arch_list] == json.loads(
        said.stdout
    )
    libraries = {library.file: library for library in facts.native or []}
    if facts.packages["bitsandbytes"]:
        cuda = libraries["libbitsandbytes_cuda128.so"]
        assert "sm_90" in (cuda.sm or [])
        assert "libcublasLt.so.12" in (cuda.needs or [])
        assert libraries["libbitsandbytes_cpu.so"].sm == []


def test_facts_are_a_complete_description(environ: dict[str, str]) -> None:
    facts = collect(find_target(sys.executable, environ), environ)
    again, observations = described.read("-", io.BytesIO(to_json(facts).encode()))
    assert (again, observations) == (facts, [])


def test_a_named_interpreter_that_does_not_answer_is_bad_input(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\necho started >> {tmp_path}/log\nexit 9\n")
    fake.chmod(0o755)
    with pytest.raises(BadInput, match="exit code 9"):
        collect(find_target(str(fake), environ), environ)
    assert (tmp_path / "log").read_text() == "started\n", "started once, not again"


def test_an_interpreter_found_by_default_that_does_not_answer_is_a_fact(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    target = Target("interpreter", "$VIRTUAL_ENV", str(tmp_path / "bin" / "python"))
    facts = collect(target, environ)
    assert facts.packages is None
    assert "cannot be started" in (facts.unread or {})["python"]
    assert facts.python is not None
    assert facts.python.version is None
    assert facts.driver is not None


def test_a_venv_whose_standard_library_is_gone(
    bare_venv: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    broken = {**environ, "PYTHONHOME": str(tmp_path)}
    with pytest.raises(BadInput, match="give one that starts"):
        collect(find_target(str(interpreter_in(bare_venv)), broken), broken)


@pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="names of files are text there")
def test_libraries_at_a_path_that_is_no_text_are_unknown_not_missing(
    bare_venv: Path, environ: dict[str, str], tmp_path: Path, lay: Callable[..., Path]
) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    lay(folder, "bitsandbytes", "0.43.0")
    (folder / "bitsandbytes" / "libbitsandbytes_cuda121.so").touch()
    asked = {**environ, "PYTHONPATH": str(folder)}
    facts = collect(find_target(str(interpreter_in(bare_venv)), asked), asked)
    assert (facts.packages or {})["bitsandbytes"] == "0.43.0"
    assert facts.native is None
    assert "no UTF-8" in (facts.unread or {})["native"]
    again, _ = described.read("-", io.BytesIO(to_json(facts).encode()))
    assert again == facts
