"""Whatever is piped into ``qdoctor explain`` is shown harmlessly: asked of the real command."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import qdoctor

KNOWN = b"AttributeError: module 'triton.language' has no attribute 'libdevice'"
FACTS = {
    "host": {"os": "linux"},
    "packages": {"torch": "2.1.2+cu121", "triton": "2.1.0", "bitsandbytes": "0.41.1"},
    "gpus": [{"name": "Tesla V100-SXM2-16GB"}],
}
DRIVES = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069]")
LOGS = {
    "colours and cursor movements": b"\x1b[31m\x1b[2J\x1b[H" + KNOWN + b"\x1b[0m",
    "a title for the window": b"\x1b]0;pwned\x07" + KNOWN + b"\x1b]8;;http://x\x1b\\",
    "an answer-back": KNOWN + b" \x1b[c\x1b[6n\x05",
    "controls inside of the line": KNOWN.replace(b" has", b"\x08\x7f\x9b31m\r\x0b has"),
    "a line that overwrites itself": b"all is well\r" + KNOWN,
    "writing turned around": "\u202eevil\u2066\u200b ".encode() + KNOWN,
    "no UTF-8": b"\xfa\xff\xfe\xc3\x28\xed\xa0\x80 " + KNOWN,
    "UTF-16 of a PowerShell": b"\xff\xfe" + KNOWN.decode().encode("utf-16-le"),
    "NUL bytes": b"\x00" * 1000 + b"\n" + KNOWN,
    "a line of megabytes": b"A" * 1_500_000 + b" " + KNOWN + b" " + b"B" * 1_500_000,
    "escapes without an end": b"\x1b]" * 100_000 + b"\n" + KNOWN,
    "shell and markup": b"$(touch pwned) `touch pwned` ; [bold]x[/bold] {0} %s\n" + KNOWN,
    "a quoted name that is hostile": b"No module named '\x1b[31m$(touch pwned)'\n",
}


def explained(log: bytes, folder: Path, *options: str) -> subprocess.CompletedProcess[bytes]:
    facts = folder / "facts.json"
    facts.write_text(json.dumps(FACTS))
    home = str(Path(qdoctor.__file__).parent.parent)
    return subprocess.run(
        [sys.executable, "-m", "qdoctor", "explain", "-", "--facts", str(facts), *options],
        input=log,
        capture_output=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": home, "PYTHONIOENCODING": "utf-8"},
    )


@pytest.mark.parametrize("log", LOGS.values(), ids=LOGS)
def test_nothing_in_a_log_reaches_the_terminal_or_is_executed(log: bytes, tmp_path: Path) -> None:
    done = explained(log, tmp_path)
    assert done.returncode in {0, 3}, done.stderr
    assert not DRIVES.search(done.stdout.decode())
    assert not DRIVES.search(done.stderr.decode())
    assert [path.name for path in tmp_path.iterdir()] == ["facts.json"]
    assert len(done.stdout) < 20_000


@pytest.mark.parametrize("log", LOGS.values(), ids=LOGS)
def test_the_known_text_is_still_found_and_json_is_json(log: bytes, tmp_path: Path) -> None:
    done = explained(log, tmp_path, "--format", "json")
    assert b"\x1b" not in done.stdout
    report = json.loads(done.stdout)
    causes = [one["rule"] for one in report["findings"] if one["explains_error"]]
    if KNOWN in log or log.startswith(b"\xff\xfe"):
        assert causes[:1] == ["triton-libdevice-removed"]
        assert done.returncode == 0


@pytest.mark.timeout(60)
def test_hostile_facts_are_shown_harmlessly(tmp_path: Path) -> None:
    hostile = "\x1b[31m\u202e\x07" + "x" * 100_000
    facts = tmp_path / "hostile.json"
    facts.write_text(json.dumps({**FACTS, "gpus": [{"name": hostile, "vendor": "nvidia"}]}))
    done = explained(KNOWN, tmp_path, "--facts", str(facts))
    assert done.returncode in {0, 2, 3}
    assert not DRIVES.search(done.stdout.decode() + done.stderr.decode())
