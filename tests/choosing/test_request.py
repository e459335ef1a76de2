"""What may be asked: every question that cannot be meant, and whose device is the current one."""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any

import pytest

import qdoctor
from qdoctor import BadInput, backends
from qdoctor.choosing.request import Request, device_of
from qdoctor.choosing.shapes import parse

if TYPE_CHECKING:
    from tests.choosing.pretended import Chooser


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"objective": "latancy"}, "no objective is called 'latancy'; did you mean latency"),
        ({"objective": 3}, "no objective is called"),
        ({"measure": "sometimes"}, "no measure is called 'sometimes'"),
        ({"max_error": 0}, "max_error 0: a number above 0"),
        ({"max_error": "x"}, "max_error 'x'"),
        ({"max_error": float("nan")}, "max_error nan"),
        ({"max_slowdown": 0}, "max_slowdown 0: a number above 0"),
        ({"max_slowdown": "twice"}, "max_slowdown 'twice'"),
        ({"budget": -1}, "budget -1"),
        ({"budget": float("inf")}, "budget inf"),
        ({"allow": ["bnb-nf5"]}, "no backend is called 'bnb-nf5'; did you mean"),
        ({"deny": "bnb-int"}, "no backend is called 'bnb-int'"),
        ({"require": "nf4"}, "no backend is called 'nf4'"),
        ({"max_error": 10**400}, "a number above 0"),
        ({"allow": [3]}, "a list of backends' names"),
        ({"allow": 3}, "allow 3: a list of backends' names"),
        ({"deny": 7}, "deny 7: a list of backends' names"),
        ({"require": 5}, "no backend is called 5"),
        ({"require": ["bnb-nf4"]}, "no backend is called ['bnb-nf4']"),
        ({"require": ""}, "no backend is called ''"),
        ({"require": "bnb-nf4", "deny": ["bnb-nf4"]}, "required, but ruled out"),
        ({"deny": backends.NAMES}, "rule out every backend"),
        ({"allow": "bnb-nf4", "deny": ["half", "bnb-nf4"]}, "rule out every backend"),
        ({"require": "bnb-nf4", "allow": ["bnb-int8"]}, "required, but ruled out"),
        ({"training": "no"}, "training 'no': True or False is meant"),
        ({"refresh": "no"}, "refresh 'no': True or False is meant"),
        ({"budget": True}, "budget True"),
        ({"refresh": True, "measure": "cached"}, "measure='cached' does not: which is meant?"),
        ({"refresh": True, "measure": "never"}, "measure='never' does not: which is meant?"),
        ({"device": "cuda:\u0663"}, "'cpu', 'cuda' or 'cuda:N'"),
        ({"shapes": []}, "shapes"),
        ({"shapes": [(1, 2)]}, "shapes"),
        ({"shapes": [(1, 2, 0)]}, "each a whole number from 1 to 16777216"),
        ({"shapes": [(1, 2, 2**24 + 1)]}, "each a whole number from 1 to 16777216"),
        ({"shapes": [(1, 2, True)]}, "shapes"),
        ({"shapes": 4096}, "shapes"),
        ({"shapes": "16x64x64"}, "shapes '16x64x64'"),
        ({"shapes": [(1.5, 2, 3)]}, "shapes [(1.5, 2, 3)]"),
        ({"device": "mps"}, "'cpu', 'cuda' or 'cuda:N'"),
        ({"device": "cpu:first"}, "device 'cpu:first': a backend is selected for"),
        ({"device": "cpu:"}, "device 'cpu:'"),
        ({"device": -1}, "'cpu', 'cuda' or 'cuda:N'"),
        ({"device": "cuda:1"}, "cuda:1 is not there: CUDA shows 1 GPU to"),
        ({"group": "world"}, "group: "),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_cannot_be_meant_is_one_clear_error(
    chooser: Chooser, wrong: dict[str, Any], text: str
) -> None:
    with pytest.raises(BadInput) as error:
        qdoctor.select_backend(**wrong)
    assert text in str(error.value)
    assert not chooser.asked


def test_a_shape_that_is_given_twice_is_measured_once_as_on_the_command_line() -> None:
    assert Request(shapes=[(16, 64, 64), (1, 64, 64), [16, 64, 64]]).shapes == [
        tuple(one) for one in parse(["16x64x64", "1x64x64", "16x64x64"])
    ]


def test_the_current_device_is_asked_only_of_a_torch_that_has_started_cuda(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started = [False]
    cuda = types.SimpleNamespace(is_initialized=lambda: started[0], current_device=lambda: 3)
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))
    assert device_of(None) is None
    assert device_of("cuda") == 0
    started[0] = True
    assert device_of(None) == device_of("cuda") == 3
    assert device_of(types.SimpleNamespace(type="cuda", index=None)) == 3
    assert device_of(types.SimpleNamespace(type="cuda", index=1)) == 1
    assert device_of(types.SimpleNamespace(type="cpu", index=None)) == "cpu"
    assert device_of("cuda:2") == device_of(2) == 2
    assert device_of("cpu:0") == device_of("cpu") == "cpu"
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    assert device_of(None) is None
