"""The same probes one after another in one process, unprotected: what ``probes.py`` compares with.

``python -B _one_process.py PLAN.json RESULT.json``: imports what the probes want, then runs each
kernel with empty caches of its own. Standard library only, like what it runs.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def load(path: str) -> Any:  # noqa: ANN401 - a module
    """Load the harness by its path, as its own command line does."""
    spec = importlib.util.spec_from_file_location("qdoctor_kernel__harness", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"not a Python file: {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Write outcomes and seconds of each import and each kernel."""
    plan = json.loads(Path(sys.argv[1]).read_text())
    harness = load(plan["harness"])
    told: dict[str, Any] = {"imports": {}, "kernels": {}, "outcomes": []}
    for name in plan["imports"]:
        began = time.perf_counter()
        importlib.import_module(name)
        told["imports"][name] = time.perf_counter() - began
    for step in plan["steps"]:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            inside = {name: str(Path(folder, sub)) for name, sub in plan["inside"].items()}
            Path(folder, "tmp").mkdir()
            os.environ.update(inside)
            tempfile.tempdir = None
            began = time.perf_counter()
            found = harness.run_kernel(
                step["path"], step["request"], lambda _: None, lambda _: None
            )
            key = f"{step['name']} {step['request']['mode']} {step['request']['device']}"
            told["kernels"][key] = time.perf_counter() - began
        told["outcomes"] += [
            [step["name"], one["variant"], one["device"], one["outcome"]] for one in found
        ]
        tempfile.tempdir = None
        for name in inside:
            os.environ.pop(name, None)
    Path(sys.argv[2]).write_text(json.dumps(told))


if __name__ == "__main__":
    main()
