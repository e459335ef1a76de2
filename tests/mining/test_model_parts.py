"""What is read of the parts of models, and what of their history is kept."""

from __future__ import annotations

import pytest
from packaging.version import Version

from qdoctor.mining.model_parts import MODELS, changed, parts_in

TEXT = """
class Base(nn.Module):
    def __init__(self):
        self.scale = 1
class BirdAttention(Base):
    kind = "of a class"
    def __init__(self):
        self.num_heads = 2
        self._own = 3
        self.register_buffer("inv_freq", x)
    def forward(self): ...
class Helper:
    def __init__(self):
        self.other = 1
"""


def test_a_part_holds_what_it_and_its_bases_set() -> None:
    held = {"num_heads", "scale", "inv_freq"}
    assert set(parts_in(TEXT)) == {f"BirdAttention:{one}" for one in held}
    assert not list(parts_in("this is no Python"))


@pytest.mark.parametrize(
    ("member", "counts"),
    [
        ("transformers/models/llama/modeling_llama.py", True),
        ("transformers/models/bert/modeling_tf_bert.py", False),
        ("transformers/models/auto/configuration_auto.py", False),
        ("transformers/modeling_utils.py", False),
    ],
)
def test_models_files_count(member: str, counts: object) -> None:
    assert bool(MODELS.match(member)) is counts


def test_what_came_or_went_with_its_class_is_left_out() -> None:
    releases = {
        Version("1.0"): frozenset({"Bird:old", "Gone:any"}),
        Version("2.0"): frozenset({"Bird:new", "New:any"}),
    }
    rows = {
        "Bird": {"came": {"2.0": ["new"]}, "went": {"2.0": ["old"]}},
        "Gone": {"came": {}, "went": {"2.0": ["any"]}},
        "New": {"came": {"2.0": ["any"]}, "went": {}},
    }
    assert changed(rows, releases) == {"Bird": rows["Bird"]}
