"""When uses are reached: at import, later, or only under a guard."""

from __future__ import annotations

import pytest

from qdoctor.sources.modules import Sources
from qdoctor.sources.reach import reached


def when(text: str, root: str = "from . import a", **more: str) -> dict[str, str]:
    """Names used in pkg/a.py and ``more`` -> when they are reached, what is always there aside."""
    texts = {"pkg/__init__.py": root, "pkg/a.py": text}
    texts |= {f"pkg/{name}.py": other for name, other in more.items()}
    found = reached(Sources("pkg", texts), "triton", ["pkg.a", *(f"pkg.{n}" for n in more)])
    names = {use.name.removeprefix("triton."): use.when for use in found}
    return {name: reach for name, reach in names.items() if name not in {"triton", "language"}}


def test_module_level_of_what_is_imported_runs_at_import() -> None:
    assert when("import triton\ntriton.ops.x\nclass A(triton.B): y = triton.c") == {
        "ops.x": "import",
        "B": "import",
        "c": "import",
    }


def test_bodies_of_functions_and_kernels_run_later() -> None:
    text = """
import triton, triton.language as tl
@triton.jit
def kernel(x: tl.constexpr = tl.d):
    tl.math.tanh(x)
"""
    assert when(text) == {
        "jit": "import",
        "language.constexpr": "import",
        "language.d": "import",
        "language.math.tanh": "later",
    }


@pytest.mark.parametrize(
    ("root", "reach"),
    [
        ("from . import a", "import"),
        ("import pkg.a", "import"),
        ("from .a import x", "import"),
        ("def f():\n    from . import a", "later"),
        ("try:\n    from . import a\nexcept Exception: pass", "later"),
        ("if TYPE_CHECKING:\n    from . import a", "later"),
        ("if some_option:\n    from . import a", "later"),
        ("", "later"),
    ],
)
def test_a_module_counts_as_imported_only_where_the_package_surely_imports_it(
    root: str, reach: str
) -> None:
    assert when("from triton.ops import x", root) == {"ops.x": reach}


def test_a_module_reached_through_another_that_has_no_triton_in_it() -> None:
    texts = {
        "pkg/__init__.py": "from .nn import layers",
        "pkg/nn/__init__.py": "",
        "pkg/nn/layers.py": "from ..kernels import k",
        "pkg/kernels.py": "from triton.ops import k",
    }
    [use] = reached(Sources("pkg", texts), "triton", ["pkg.kernels"])
    assert (use.name, use.when) == ("triton.ops.k", "import")


@pytest.mark.parametrize(
    "text",
    [
        "try:\n    from triton.ops import x\nexcept ImportError:\n    x = None",
        "with suppress(ImportError):\n    from triton.ops import x",
        "if triton.__version__ < '3':\n    from triton.ops import x",
        "import triton\nx = triton.ops.x if hasattr(triton, 'ops') else None",
        "import triton\nx = hasattr(triton, 'ops') and triton.ops.x",
        "def f():\n    if version < 3:\n        return\n    from triton.ops import x",
        "try:\n    import y\nexcept ImportError:\n    from triton.ops import x",
    ],
)
def test_code_that_looks_first_is_guarded(text: str) -> None:
    assert when(text)["ops.x"] == "guarded"


def test_a_try_that_only_words_the_error_guards_nothing() -> None:
    text = "try:\n    from triton.ops import x\nexcept ImportError as e:\n    raise E(1) from e"
    assert when(text) == {"ops.x": "import"}


def test_where_triton_is_installed_the_branch_for_it_runs() -> None:
    text = """
def is_triton_available(): return find_spec("triton") is not None
if not is_triton_available():
    def f(): return None
else:
    from triton.ops import x
"""
    assert when(text) == {"ops.x": "import"}


def test_a_local_name_for_one_of_several_places_is_guarded_wherever_it_is_used() -> None:
    text = """
if version_is_new():
    from triton.language.extra import libdevice as m
else:
    from triton.language import math as m
def f(): m.tanh(1)
"""
    assert set(when(text).values()) == {"guarded"}


def test_what_every_release_has_stays_sure_though_its_import_is_caught() -> None:
    text = """
try:
    import triton.language as tl
except ImportError:
    tl = None
def f(): tl.libdevice.llrint(1)
"""
    assert when(text) == {"language.libdevice.llrint": "later"}


def test_the_first_and_least_guarded_place_is_told_once_a_package() -> None:
    texts = {
        "pkg/__init__.py": "from . import b",
        "pkg/a.py": "def f():\n    import triton.ops",
        "pkg/b.py": "\n\nimport triton.ops",
    }
    [use] = reached(Sources("pkg", texts), "triton", ["pkg.a", "pkg.b"])
    assert (use.member, use.line, use.when) == ("pkg/b.py", 3, "import")


def test_code_for_other_devices_is_guarded() -> None:
    found = when("", npu="from triton.ops import x", root="from . import npu")
    assert found == {"ops.x": "guarded"}


def test_import_circles_end() -> None:
    assert when("from . import b\nimport triton.ops", b="from . import a") == {"ops": "import"}
