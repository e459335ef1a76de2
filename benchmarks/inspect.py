"""What reading native libraries costs; see ``inspecting.py``, which this runs.

``python benchmarks/X.py`` puts this folder first on the import path, where this file hides the
standard library's module of its name: whoever imports that is given it.
"""

from __future__ import annotations

import sys
import sysconfig
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from runpy import run_path


def _give_the_standard_one() -> None:
    path = Path(sysconfig.get_path("stdlib"), "inspect.py")
    spec = spec_from_file_location("inspect", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"no module inspect at {path}")
    module = module_from_spec(spec)
    sys.modules["inspect"] = module
    spec.loader.exec_module(module)


if __name__ == "inspect":
    _give_the_standard_one()
elif __name__ == "__main__":
    run_path(str(Path(__file__).with_name("inspecting.py")), run_name="__main__")
