"""What torch's own files state of its names, and what is kept of their history."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from qdoctor.matrix import shipped
from qdoctor.mining.errors import UnreadableRelease
from qdoctor.mining.torch_names import asked_of_torch, names_in, rows_of, table_of, written

if TYPE_CHECKING:
    from pathlib import Path

HEADER = """
#define AT_FORALL_SCALAR_TYPES_WITH_COMPLEX_AND_QINTS(_) \\
  _(uint8_t, Byte) /* 0 */                               \\
  _(c10::complex<float>, ComplexFloat) /* 9 */           \\
  _(c10::Float8_e4m3fn, Float8_e4m3fn) /* 24 */          \\
  _(c10::dummy_uint1_7_t<1>, UInt1) /* 30 */
"""
TEXTS = {
    "torch/__init__.py": "from torch.functional import *\ndef compile(): ...\n",
    "torch/functional.py": "__all__ = ['einsum']\ndef einsum(): ...\ndef _inner(): ...\n",
    "torch/nn/__init__.py": "from torch.nn.norm import RMSNorm\n",
    "torch/nn/norm.py": "class RMSNorm: ...\ndef _hidden(): ...\n",
    "torch/_inductor/codegen/cpp.py": "class Kernel: ...\n",
    "torch/_tensor.py": "class Tensor:\n    def untyped_storage(self): ...\n",
    "torch/_C/__init__.pyi": "uint16: dtype = ...\nclass TensorBase:\n    def view(self): ...\n",
    "torch/_C/_VariableFunctions.pyi": "def _int_mm(a, b): ...\ndef __special__(): ...\n",
    "torch/include/c10/core/ScalarType.h": HEADER,
}


def releases(*names: str) -> dict[Version, frozenset[str]]:
    """Three releases, each with the names that list its number."""
    return {
        Version(f"2.{minor}.0"): frozenset(
            name.partition("@")[0] for name in names if str(minor) in name.partition("@")[2]
        )
        for minor in range(3)
    }


@pytest.mark.parametrize(
    "name",
    [
        "torch.compile",
        "torch.einsum",
        "torch.nn.RMSNorm",
        "torch.nn.norm.RMSNorm",
        "torch.functional._inner",
        "torch._inductor.codegen.cpp",
        "torch.Tensor.untyped_storage",
        "torch.Tensor.view",
        "torch.uint16",
        "torch._int_mm",
        "torch.float8_e4m3fn",
        "torch.uint1",
    ],
)
def test_a_name_is_found_where_torch_states_it(name: str) -> None:
    assert name in names_in(TEXTS)


@pytest.mark.parametrize(
    "name",
    [
        "torch._inner",  # not in __all__
        "torch.nn.norm._hidden",
        "torch._inductor.codegen.cpp.Kernel",  # deep inside what is torch's own
        "torch.__special__",
        "torch.byte",  # no dtype goes by that name; torch.Tensor.byte is another matter
        "torch.complexfloat",
    ],
)
def test_what_is_no_name_of_torch_is_not_found(name: str) -> None:
    assert name not in names_in(TEXTS)


def test_a_wheel_without_torch_is_refused() -> None:
    with pytest.raises(UnreadableRelease):
        names_in({"torch/nn/__init__.py": ""})


def test_only_what_changed_is_kept() -> None:
    found = rows_of(releases("torch.add@012", "torch.new@12", "torch.old@0", "torch.short@1"), "w")
    assert found == {
        "torch": {
            "came": {"2.1.0": ["new", "short"]},
            "went": {"2.1.0": ["old"], "2.2.0": ["short"]},
            "source": "w",
            "strength": "mined",
        }
    }


def test_a_name_that_is_there_by_turns_tells_nothing() -> None:
    assert rows_of(releases("torch.add@012", "torch.odd@02"), "w") == {}


def test_the_table_says_which_releases_were_read_and_is_written_once(tmp_path: Path) -> None:
    table = table_of(releases("torch.add@012", "torch.new@12", "torch.nn.new@2"))
    path = tmp_path / "torch_names.json"
    assert (table["first"], table["last"]) == ("2.0.0", "2.2.0")
    assert written(table, path)
    assert json.loads(path.read_text(encoding="utf-8")) == table
    assert not written(table, path)


@pytest.mark.parametrize(
    ("module", "name", "release"),
    [
        ("torch", "float8_e4m3fn", "2.1.0"),  # release notes of 2.1
        ("torch", "uint1", "2.3.0"),
        ("torch", "int1", "2.6.0"),
        ("torch", "compile", "2.0.0"),
        ("torch.library", "custom_op", "2.4.0"),
        ("torch.library", "register_fake", "2.4.0"),
        ("torch.nn.attention", "flex_attention", "2.5.0"),
        ("torch.nn.functional", "scaled_dot_product_attention", "2.0.0"),
    ],
)
def test_the_shipped_table_knows_when_a_name_came(module: str, name: str, release: str) -> None:
    assert name in shipped().table("torch_names")["rows"][module]["came"][release]


def test_the_shipped_table_knows_what_is_gone() -> None:
    assert "_six" in shipped().table("torch_names")["rows"]["torch"]["went"]["2.0.0"]


def test_the_shipped_table_speaks_of_releases_that_the_matrix_knows() -> None:
    known = {str(release) for release in shipped().versions("torch")}
    rows = shipped().table("torch_names")["rows"].values()
    assert {release for row in rows for when in ("came", "went") for release in row[when]} <= known


def test_a_private_name_counts_where_a_package_asks_for_it() -> None:
    asked = {"torch.nn.norm._hidden", "torch.nn.norm._nowhere"}
    assert names_in(TEXTS, asked) - names_in(TEXTS) == {"torch.nn.norm._hidden"}


def test_the_names_asked_for_are_those_of_torch(tmp_path: Path) -> None:
    rows = [{"name": "torch.nn.norm._hidden"}, {"name": "triton.common"}]
    (tmp_path / "tables").mkdir()
    text = json.dumps({"rows": rows})
    (tmp_path / "tables" / "name_askers.json").write_text(text, encoding="utf-8")
    assert asked_of_torch(tmp_path) == {"torch.nn.norm._hidden"}
