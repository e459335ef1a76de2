"""Names, ends of names and globs of modules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdoctor.backends.names import idle, listed, means, meant_by, named_outright, near

PART = st.text("abcdefg_0123456789", min_size=1, max_size=6)
NAME = st.lists(PART, min_size=1, max_size=5).map(".".join)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("lm_head", "lm_head"),
        ("c_fc", "visual.transformer.resblocks.3.mlp.c_fc"),
        ("mlp.c_fc", "visual.transformer.resblocks.3.mlp.c_fc"),
        ("visual", "visual.transformer.resblocks.3.mlp.c_fc"),
        ("resblocks.3", "visual.transformer.resblocks.3.mlp.c_fc"),
        ("*.c_fc", "visual.mlp.c_fc"),
        ("c_*", "visual.mlp.c_fc"),
        ("resblocks.[0-3].mlp", "visual.resblocks.3.mlp.c_fc"),
        ("visual*c_fc", "visual.resblocks.3.mlp.c_fc"),
    ],
)
def test_what_a_pattern_means(pattern: str, name: str) -> None:
    assert means(pattern, name)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("c_fc", "visual.c_fc2"),
        ("fc", "visual.c_fc"),
        ("1", "resblocks.11.c_fc"),
        ("resblocks.1", "resblocks.11.c_fc"),
        ("c_fc.*", "visual.c_fc"),
        ("resblocks.[0-3].mlp", "visual.resblocks.13.mlp.c_fc"),
    ],
)
def test_what_a_pattern_does_not_mean(pattern: str, name: str) -> None:
    assert not means(pattern, name)


@given(NAME, st.data())
def test_a_name_is_meant_by_each_run_of_its_parts(name: str, data: st.DataObject) -> None:
    parts = name.split(".")
    start = data.draw(st.integers(0, len(parts) - 1))
    end = data.draw(st.integers(start + 1, len(parts)))
    run = ".".join(parts[start:end])
    assert means(run, name)
    assert means(run[:1] + "*", name) or start > 0 or run[:1] != name[:1]
    assert named_outright([run], name) == name.endswith(run) * (
        name == run or name[: -len(run)].endswith(".")
    )


@given(NAME, NAME)
def test_a_plain_pattern_means_whole_parts_only(pattern: str, name: str) -> None:
    parts, wanted = name.split("."), pattern.split(".")
    runs = [parts[i : i + len(wanted)] for i in range(len(parts))]
    assert means(pattern, name) == (wanted in runs)


def test_lists_are_taken_as_people_write_them() -> None:
    assert listed(None, "skip") == ()
    assert listed("lm_head", "skip") == ("lm_head",)
    assert listed({"a": 1}, "skip") == ("a",)
    for wrong in (3, ["a", None], [""]):
        with pytest.raises(TypeError, match="include is a list of module names"):
            listed(wrong, "include")  # type: ignore[arg-type]


def test_what_means_nothing_is_met_with_what_is_near() -> None:
    names = ["blocks.0.c_fc", "blocks.0.c_proj", "head"]
    assert idle(["c_fcc", "c_fc"], names) == ("c_fcc",)
    assert near("c_fcc", names)[0] == "c_fc"
    assert near("zzz", names) == []
    assert meant_by(["x", "head"], "head") == "head"
    assert meant_by(["x"], "head") is None
