"""Which options a kernel's launch takes, as each of the ways says in which triton did it."""

from __future__ import annotations

import json

from qdoctor import shipped
from qdoctor.mining.launch_options import LAUNCH, launch_options


def test_a_written_launcher_names_them_in_its_header() -> None:
    text = (
        'src = f"""\n'
        "def {self.fn.__name__}({args}, grid=None, num_warps=4, extern_libs=None, stream=None):\n"
        '"""\n'
    )
    assert launch_options({"triton/runtime/jit.py": text}) == {"num_warps", "extern_libs"}


def test_a_launch_that_asks_for_each_names_them() -> None:
    text = 'grid = get_special_arg("grid")\nnum_ctas = get_special_arg("num_ctas", 1)\n'
    assert launch_options({"triton/runtime/jit.py": text}) == {"num_ctas"}


def test_a_backends_options_are_its_fields() -> None:
    text = "class CUDAOptions:\n    maxnreg: int = None\n    def hash(self): ...\n"
    assert launch_options({"triton/backends/nvidia/compiler.py": text}) == {"maxnreg"}
    assert not launch_options({"triton/backends/amd/compiler.py": text})


def test_every_option_that_a_text_is_known_by_came_or_went() -> None:
    tables = shipped.matrix_folder() / "tables"
    rows = json.loads((tables / "hub_names.json").read_text())["rows"]["triton"]["keywords"]
    changed = {
        name for change in rows[LAUNCH].values() for names in change.values() for name in names
    }
    signatures = json.loads((tables / "signatures.json").read_text())["rows"]
    patterns = [row["pattern"] for row in signatures if "(?P<launched>" in row["pattern"]]
    assert patterns
    for pattern in patterns:
        names = pattern.partition("(?P<launched>")[2].partition(")")[0].split("|")
        assert set(names) <= changed
