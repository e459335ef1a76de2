"""What ``select_backend()`` costs; see ``selecting.py``, which this runs.

``python benchmarks/X.py`` puts this folder first on the import path, where this file hides the
standard library's module of its name: whoever imports that is given it.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from runpy import run_path


def _give_the_standard_one() -> None:
    here = Path(__file__).resolve().parent
    folders = [entry for entry in sys.path if Path(entry or ".").resolve() != here]
    spec = PathFinder.find_spec("select", folders)
    if spec is None or spec.loader is None:
        raise ImportError(f"no module select beside {here}")
    module = module_from_spec(spec)
    sys.modules["select"] = module
    spec.loader.exec_module(module)


if __name__ == "select":
    _give_the_standard_one()
elif __name__ == "__main__":
    run_path(str(Path(__file__).with_name("selecting.py")), run_name="__main__")
