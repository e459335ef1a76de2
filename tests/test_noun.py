"""What a text that is no noun is answered with."""

from __future__ import annotations

import pytest

from qdoctor.model import BadInput, Facts, Target
from qdoctor.noun import from_json, to_json


@pytest.mark.parametrize("text", [b"", b"{", b"torch 2.1", b"\xff\xfe{}", b'{"schema": '])
def test_what_is_no_json_is_called_so(text: bytes) -> None:
    with pytest.raises(BadInput, match=r"^facts\.json: not JSON: "):
        from_json(text, Facts, "facts.json")


def test_json_of_another_shape_names_what_does_not_fit() -> None:
    with pytest.raises(BadInput, match=r"^facts\.json: Object contains unknown field `gpu`"):
        from_json(b'{"gpu": 1}', Facts, "facts.json")
    with pytest.raises(BadInput, match=r"^facts\.json: Expected `object`, got `array`"):
        from_json(b"[]", Facts, "facts.json")


def test_what_is_no_text_in_a_path_is_replaced_in_json() -> None:
    target = Target("interpreter", "--python", "/envs/caf\udce9/bin/python", ["of caf\udce9"])
    again = from_json(to_json(target), Target, "report.json")
    assert (again.python, again.assumptions) == ("/envs/caf\ufffd/bin/python", ["of caf\ufffd"])
