"""What shields code from names that may be missing, and what only seems to."""

from __future__ import annotations

import ast

import pytest

from qdoctor.sources import guards
from qdoctor.sources.modules import Sources


def asked(condition: str, module: str = "", other: str = "") -> guards.Asked:
    sources = Sources("pkg", {"pkg/__init__.py": module, "pkg/other.py": other})
    test = ast.parse(condition, mode="eval").body
    return guards.asked(test, sources.modules["pkg"], sources)


@pytest.mark.parametrize(
    "condition",
    [
        "hasattr(tl, 'libdevice')",
        "triton.__version__ >= '3.0.0'",
        "compare_version('triton', operator.ge, '3.0.0')",
        "TRITON_22",
        "torch.cuda.is_available()",
        "supports_tma()",
    ],
)
def test_looking_before_using_is_a_guard(condition: str) -> None:
    assert asked(condition) == "guard"


def test_what_type_checkers_read_never_runs() -> None:
    assert asked("typing.TYPE_CHECKING") == "never"


def test_other_conditions_are_no_guards() -> None:
    assert asked("ACTIVATION == 'gelu'") == "other"


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("triton is not None", "there"),
        ("triton is None", "absent"),
        ("importlib.util.find_spec('triton') is not None", "there"),
        ("HAS_TRITON", "there"),
        ("not HAS_TRITON", "absent"),
        ("is_triton_available()", "there"),
    ],
)
def test_whether_triton_is_there_is_no_question_where_it_is_installed(
    condition: str, says: guards.Asked
) -> None:
    module = """
HAS_TRITON = False
try:
    import triton
    HAS_TRITON = True
except ImportError:
    pass
def is_triton_available():
    return importlib.util.find_spec("triton") is not None
"""
    assert asked(condition, module) == says


def test_a_function_of_another_module_is_followed() -> None:
    module = "from .other import is_triton_available"
    finds = "def is_triton_available():\n    return find_spec('triton') is not None"
    wants_more = "def is_triton_available():\n    return torch.cuda.is_available()"
    assert asked("is_triton_available()", module, finds) == "there"
    assert asked("is_triton_available()", module, wants_more) == "guard"
    assert asked("is_triton_available()", "from torch.x import is_triton_available") == "guard"


@pytest.mark.parametrize(
    ("handler", "survives"),
    [
        ("except ImportError: x = None", True),
        ("except (AttributeError, KeyError): x = None", True),
        ("except: pass", True),
        ("except KeyError: pass", False),
        ("except ImportError as e: raise RuntimeError('install triton') from e", False),
    ],
)
def test_a_try_shields_only_if_it_survives(handler: str, survives: bool) -> None:  # noqa: FBT001
    node = ast.parse(f"try:\n    import triton.ops\n{handler}").body[0]
    assert isinstance(node, ast.Try)
    assert guards.catches(node) is survives


def test_files_for_other_devices_are_told_by_their_path() -> None:
    assert guards.for_others("pkg/backends/triton_ascend.py")
    assert not guards.for_others("pkg/ops/chip.py")
