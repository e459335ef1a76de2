"""Processes that ask for a backend, in a folder of their own, with a cache of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ASKER = Path(__file__).with_name("process_that_asks.py")
HOME = Path(__file__).resolve().parent.parent.parent

posix_only = pytest.mark.skipif(os.name == "nt", reason="modes and signals of POSIX")


class Rig:
    """A folder in which processes ask."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cache = folder, folder / "cache"
        self.within: list[str] = []  # a command that starts the processes
        self.environ = {
            **{name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ},
            "PYTHONPATH": str(HOME),
            "QDOCTOR_CACHE_DIR": str(self.cache),
            "QDOCTOR_DATA_DIR": str(folder / "data"),
        }

    def start(self, **plan: Any) -> subprocess.Popen[str]:  # noqa: ANN401 - JSON
        return subprocess.Popen(
            [*self.within, sys.executable, str(ASKER), str(self.folder), json.dumps(plan)],
            env=self.environ,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ask(self, **plan: Any) -> list[dict[str, Any]]:  # noqa: ANN401
        """Ask in one process and return what it was told, each time it asked."""
        return self.told(self.start(**plan))[0]

    def told(
        self, *askers: subprocess.Popen[str], within: float = 120
    ) -> list[list[dict[str, Any]]]:
        """Return what each of these processes was told, once they have all ended well."""
        said = [asker.communicate(timeout=within)[1] for asker in askers]
        assert [asker.returncode for asker in askers] == [0] * len(askers), said
        return [json.loads((self.folder / f"told.{asker.pid}").read_text()) for asker in askers]

    def worked(self) -> int:
        """How often an answer was worked out."""
        return len(list(self.folder.glob("worked.*")))

    def kept(self) -> list[Path]:
        """The files of kept answers."""
        return sorted((self.cache / "selections").glob("[!.]*"))
