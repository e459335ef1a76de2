"""What packages import of one another, as their files say, and what is kept of it."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from qdoctor.mining.imported_names import changing, imported_by, table_of, texts_of, written

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = {
    "trl/core.py": (
        "import os\n"
        "import transformers.deepspeed\n"
        "from transformers import top_k_top_p_filtering, Trainer\n"
        "from .local import part\n"
        "if flag:\n    from transformers import OnlyIf\n"
        "try:\n    from transformers import Perhaps\nexcept ImportError:\n    Perhaps = None\n"
        "def later():\n    from transformers import Later\n"
    ),
    "trl/old.py": "print 'made for another Python'\n",
    "trl/tests/test_core.py": "from transformers import OnlyTested\n",
}
HUB = {
    "rows": {
        "transformers": {
            "imports": {"transformers": {"came": {"4.30": ["New"]}, "went": {"4.40": ["Old"]}}}
        }
    }
}
TORCH = {"rows": {"torch.library": {"came": {"2.4.0": ["register_fake"]}, "went": {}}}}


@pytest.mark.parametrize(
    "name",
    ["transformers.top_k_top_p_filtering", "transformers", "transformers.deepspeed", "os"],
)
def test_what_a_module_imports_at_once_is_read(name: str) -> None:
    assert name in imported_by(TEXTS)


@pytest.mark.parametrize("name", ["OnlyIf", "Perhaps", "Later", "OnlyTested", "part"])
def test_what_may_never_be_imported_is_left_out(name: str) -> None:
    assert not any(one.endswith(f".{name}") for one in imported_by(TEXTS))


def test_names_that_came_or_went_are_those_of_both_tables() -> None:
    expected = {"transformers.New", "transformers.Old", "torch.library.register_fake"}
    assert changing([HUB, TORCH]) == expected


def test_the_first_and_the_last_release_that_import_a_name() -> None:
    names = changing([HUB, TORCH])
    releases = {
        Version("0.1"): frozenset({"transformers.Old"}),
        Version("0.2"): frozenset({"transformers.Old", "transformers.New"}),
        Version("0.3"): frozenset({"transformers.New", "transformers.Always"}),
    }
    row = table_of({"trl": releases}, names)["rows"]["trl"]
    assert row["releases"] == ["0.1", "0.2", "0.3"]
    assert row["names"] == {
        "transformers.New": {"since": "0.2"},
        "transformers.Old": {"without": "0.3"},
    }


def test_a_name_that_is_imported_by_turns_and_ones_own_say_nothing() -> None:
    releases = {
        Version("0.1"): frozenset({"transformers.Old", "torch.library.register_fake"}),
        Version("0.2"): frozenset[str](),
        Version("0.3"): frozenset({"transformers.Old", "torch.library.register_fake"}),
    }
    table = table_of({"transformers": releases, "trl": releases}, changing([HUB, TORCH]))
    assert not table["rows"]["transformers"]["names"]
    assert not table["rows"]["trl"]["names"]


def test_the_table_is_written_once(tmp_path: Path) -> None:
    found = {"trl": {Version("0.1"): frozenset({"transformers.Old"})}}
    table, path = table_of(found, changing([HUB])), tmp_path / "imported_names.json"
    assert written(table, path)
    assert not written(table, path)
    assert json.loads(path.read_text(encoding="utf-8")) == table


def test_only_the_own_folder_of_a_wheel_is_read(tmp_path: Path) -> None:
    path = tmp_path / "auto_gptq-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("auto_gptq/core.py", "import torch\n")
        wheel.writestr("examples/run.py", "import transformers\n")
    assert list(texts_of(path)) == ["auto_gptq/core.py"]
