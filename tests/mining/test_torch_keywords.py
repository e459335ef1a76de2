"""Which keywords torch's files say that its functions take, and what is kept of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from qdoctor.matrix import shipped
from qdoctor.mining.errors import UnreadableRelease
from qdoctor.mining.torch_keywords import is_wanted, keywords_in, table_of, written

if TYPE_CHECKING:
    from pathlib import Path

OLD = {
    "torch/__init__.py": "def load(f): ...\ndef open_ended(**kwargs): ...\n",
    "torch/nn/modules/module.py": (
        "class Module:\n    def load_state_dict(self, state, strict=True): ...\n"
    ),
    "torch/amp/grad_scaler.py": "class GradScaler:\n    def __init__(self, enabled=True): ...\n",
    "torch/_C/_nn.pyi": "def sdpa(query, key): ...\n",
}
NEW = {
    **OLD,
    "torch/__init__.py": "def load(f, weights_only): ...\ndef compile(model, mode): ...\n",
    "torch/nn/modules/module.py": (
        "class Module:\n    def load_state_dict(self, state, strict=True, assign=False): ...\n"
    ),
    "torch/amp/grad_scaler.py": "class GradScaler:\n    def __init__(self, device): ...\n",
    "torch/_C/_nn.pyi": "def sdpa(query, key, scale): ...\ndef sdpa(query, enable_gqa): ...\n",
}


def test_what_changed_in_a_function_that_stays() -> None:
    found = {Version("2.0.0"): keywords_in(OLD), Version("2.1.0"): keywords_in(NEW)}
    assert table_of(found)["rows"] == {
        "GradScaler.__init__": {"came": {"2.1.0": ["device"]}, "went": {"2.1.0": ["enabled"]}},
        "Module.load_state_dict": {"came": {"2.1.0": ["assign"]}, "went": {}},
        "load": {"came": {"2.1.0": ["weights_only"]}, "went": {}},
        "sdpa": {"came": {"2.1.0": ["enable_gqa", "scale"]}, "went": {}},
    }


def test_a_wheel_without_torch_is_refused() -> None:
    with pytest.raises(UnreadableRelease, match="torch/__init__"):
        keywords_in({})


@pytest.mark.parametrize(
    ("member", "wanted"),
    [
        ("torch/__init__.py", True),
        ("torch/nn/modules/module.py", True),
        ("torch/_C/_nn.pyi", True),
        ("torch/utils/_pytree.py", True),
        ("torch/_inductor/config.py", False),
        ("torch/nn/_reduction.py", False),
        ("torch/testing/_comparison.py", False),
        ("functorch/__init__.py", False),
    ],
)
def test_public_modules_are_read(member: str, wanted: bool) -> None:  # noqa: FBT001
    assert is_wanted(member) is wanted


def test_the_table_is_written_once(tmp_path: Path) -> None:
    table = table_of({Version("2.0.0"): keywords_in(OLD), Version("2.1.0"): keywords_in(NEW)})
    path = tmp_path / "torch_keywords.json"
    assert written(table, path)
    assert not written(table, path)
    assert json.loads(path.read_text(encoding="utf-8")) == table


@pytest.mark.parametrize(
    ("on", "keyword", "came"),
    [
        ("Module.load_state_dict", "assign", "2.1.0"),
        ("scaled_dot_product_attention", "enable_gqa", "2.5.0"),
        ("GradScaler.__init__", "device", "2.3.0"),
    ],
)
def test_the_shipped_table_says_when_a_keyword_came(on: str, keyword: str, came: str) -> None:
    assert keyword in shipped().table("torch_keywords")["rows"][on]["came"][came]
