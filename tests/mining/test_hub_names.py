"""What a package's files say of its names, and what is kept of their history."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from qdoctor.mining.hub_names import history, lasting, names_in, table_of, texts_of, written

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = {
    "pkg/__init__.py": "_lazy = {'models': ['Llama', 'not a name']}\nfrom .core import place\n",
    "pkg/core.py": (
        "import os\nfrom typing import Any\nfrom .other import helper\n"
        "def place(model, offload=None): ...\n"
        "def open_ended(model, **kwargs): ...\n"
        "class Accelerator:\n"
        "    def __init__(self, cpu=False):\n        self.state = 1\n"
        "    def unwrap_model(self, model, keep=True): ...\n"
        "class Other:\n    def method(self, word): ...\n"
    ),
    "pkg/config.py": (
        "@dataclass\nclass Base:\n    kind: str\n@dataclass\nclass Lora(Base):\n    rank: int = 8\n"
    ),
    "pkg/models/auto/configuration_auto.py": '        ("llama4", "Llama4Config"),\n',
}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("imports", "pkg:Llama"),
        ("imports", "pkg:place"),
        ("imports", "pkg:core"),
        ("imports", "pkg.core:helper"),
        ("imports", "pkg.core:Accelerator"),
        ("members", "Accelerator:state"),
        ("members", "Accelerator:unwrap_model"),
        ("keywords", "place:offload"),
        ("keywords", "Accelerator.__init__:cpu"),
        ("keywords", "Accelerator.unwrap_model:keep"),
        ("keywords", "Lora.__init__:kind"),
        ("keywords", "Lora.__init__:rank"),
        ("model_types", ":llama4"),
    ],
)
def test_a_name_is_read(kind: str, name: str) -> None:
    assert name in names_in(TEXTS)[kind]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("imports", "pkg:not a name"),
        ("imports", "pkg.core:os"),
        ("imports", "pkg.core:Any"),
        ("keywords", "open_ended:model"),
        ("keywords", "Other.method:word"),
    ],
)
def test_what_says_nothing_is_left_out(kind: str, name: str) -> None:
    assert name not in names_in(TEXTS)[kind]


def test_only_what_changed_is_kept() -> None:
    releases = {
        Version("1.0"): frozenset({"f:always", "f:old", "f:blinking"}),
        Version("2.0"): frozenset({"f:always", "f:new"}),
        Version("3.0"): frozenset({"f:always", "f:new", "f:blinking"}),
    }
    expected = {"f": {"came": {"2.0": ["new"]}, "went": {"2.0": ["old"]}}}
    assert history(releases) == expected


def test_what_one_release_lacks_between_others_stayed() -> None:
    kept = frozenset({"pkg:kept"})
    having = [kept | {"pkg:back"}, kept, kept | {"pkg:back"}, kept | {"pkg:back"}, kept]
    releases = {Version(f"1.{minor}"): names for minor, names in enumerate(having)}
    assert history(releases) == {"pkg": {"came": {}, "went": {"1.4": ["back"]}}}


def test_a_wheel_whose_list_is_made_of_its_models(tmp_path: Path) -> None:
    path = tmp_path / "transformers-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("transformers/__init__.py", "define_import_structure(here)\n")
        wheel.writestr("transformers/models/llama/modeling.py", "__all__ = ['LlamaModel']\n")
        wheel.writestr("transformers/commands/run.py", "def run(): ...\n")
    texts = texts_of(path)
    assert "transformers:LlamaModel" in names_in(texts)["imports"]
    assert list(texts) == ["transformers/__init__.py"]


@pytest.mark.parametrize("first", ["examples/run.py", "trl-1.0.dist-info/METADATA", "trl.libs/so"])
def test_the_package_is_what_the_wheel_is_named_for(tmp_path: Path, first: str) -> None:
    path = tmp_path / "trl-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(first, "def not_of_the_package(): ...\n")
        wheel.writestr("trl/core.py", "def f(a): ...\n")
    assert list(texts_of(path)) == ["trl/core.py"]


def test_of_triton_only_what_others_call_is_read(tmp_path: Path) -> None:
    path = tmp_path / "triton-3.4.0-cp311-cp311-manylinux_2_28_x86_64.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("triton/runtime/jit.py", "def jit(fn, repr): ...\n")
        wheel.writestr("triton/experimental/gluon/_runtime.py", "def jit(fn): ...\n")
    assert list(texts_of(path)) == ["triton/runtime/jit.py"]


def test_the_table_is_written_once(tmp_path: Path) -> None:
    names = {Version("1.0"): names_in(TEXTS), Version("2.0"): names_in({})}
    table, path = table_of({"pkg": names}), tmp_path / "hub_names.json"
    assert written(table, path)
    assert not written(table, path)
    assert json.loads(path.read_text(encoding="utf-8")) == table


def test_of_triton_only_keywords_are_kept() -> None:
    names = {Version("1.0"): names_in(TEXTS), Version("2.0"): names_in({})}
    row = table_of({"triton": names})["rows"]["triton"]
    assert row["keywords"]
    assert not row["imports"]


def test_of_packages_that_others_import_what_is_public_and_near_is_read(tmp_path: Path) -> None:
    path = tmp_path / "autoawq-0.1.0-py3-none-any.whl"
    members = ("__init__", "modules/linear/__init__", "modules/linear/gemm", "_private", "core")
    with zipfile.ZipFile(path, "w") as wheel:
        for member in members:
            wheel.writestr(f"awq/{member}.py", "def quantize(): ...\ndef _own(): ...\n")
        wheel.writestr("other/__init__.py", "def quantize(): ...\n")
    found = texts_of(path)
    assert set(found) == {f"awq/{one}.py" for one in members if one in {members[0], members[4]}} | {
        "awq/modules/linear/__init__.py"
    }


def test_such_a_package_has_the_name_that_pip_knows() -> None:
    old, new = names_in({"awq/__init__.py": ""}), names_in({"awq/core.py": "def fit(): ...\n"})
    table = table_of({"awq": {Version("0.1"): old, Version("0.2"): new}})
    row = table["rows"]["awq"]
    assert row["distribution"] == "autoawq"
    assert row["imports"]["awq.core"]["came"] == {"0.2": ["fit"]}
    assert not row["members"]
    assert set(table["rules"]["awq"]["imports"].values()) == {"api-keyword-renamed"}


def test_of_a_package_of_thousands_its_deepest_modules_are_known_by_name(tmp_path: Path) -> None:
    path = tmp_path / "vllm-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("vllm/core/block.py", "class Block: ...\n")
        wheel.writestr("vllm/config.py", "class Config: ...\n")
    names = names_in(texts_of(path))["imports"]
    assert {"vllm.core:block", "vllm.config:Config"} <= names
    assert "vllm.core.block:Block" not in names


def test_what_every_release_has_is_kept_of_the_package_itself() -> None:
    releases = {
        Version("1.0"): frozenset({"pkg:Old", "pkg:Place", "pkg:_own", "pkg.core:Part"}),
        Version("2.0"): frozenset({"pkg:New", "pkg:Place", "pkg:_own", "pkg.core:Part"}),
    }
    assert lasting(releases) == {"pkg": ["Place"]}
