"""The README shows what the commands print."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SHOWN = re.compile(r"^```\n\$ qdoctor (check --facts \S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_report_in_the_readme_is_a_real_one(checkout: Path) -> None:
    found = SHOWN.search((checkout / "README.md").read_text(encoding="utf-8"))
    assert found is not None
    command = [sys.executable, "-m", "qdoctor", *found[1].split()]
    ended = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert ended.stdout == found[2]
    assert ended.returncode == 0
