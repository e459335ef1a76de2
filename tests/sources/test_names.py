from __future__ import annotations

import pytest

from qdoctor.sources.modules import Sources, UnreadableSources
from qdoctor.sources.names import Names


def names(**texts: str) -> Names:
    members = {f"pkg/{name}.py": text for name, text in texts.items()}
    return Names(Sources("pkg", {"pkg/__init__.py": "", **members}))


def of(text: str) -> set[str]:
    found = Names(Sources("pkg", {"pkg/__init__.py": text})).public()
    return set(found) - {"pkg"}


def test_definitions_and_values_are_names_and_private_ones_are_not() -> None:
    text = "def f(): inner = 1\nclass C: attribute = 1\nx, (y, _z) = 1, (2, 3)\n"
    text += "w: int = 1\n_p = 1\nv: int\n"
    assert of(text) == {"pkg.f", "pkg.C", "pkg.x", "pkg.y", "pkg.w"}


def test_branches_are_all_seen_but_those_for_type_checkers() -> None:
    text = "if a:\n  b = 1\nelse:\n  c = 1\ntry:\n  d = 1\nexcept E:\n  e = 1\n"
    text += "if TYPE_CHECKING:\n  f = 1\n"
    assert of(text) == {"pkg.b", "pkg.c", "pkg.d", "pkg.e"}


def test_what_is_imported_from_elsewhere_is_not_the_packages() -> None:
    assert of("import os\nfrom sys import path\nimport numpy as np\n") == set()


def test_deleted_names_are_gone() -> None:
    assert of("a = 1\nb = 1\ndel a\n") == {"pkg.b"}


def test_re_exports_are_followed_to_their_definition() -> None:
    found = Names(
        Sources(
            "pkg",
            {
                "pkg/__init__.py": "from . import lang\nfrom .lang import inner as tl\n"
                "from .lang import *\n",
                "pkg/lang/__init__.py": "from .inner import f as g\nfrom pkg.lang.inner import *\n"
                "__all__ = ['g']\nh = 1\n",
                "pkg/lang/inner.py": "\n\ndef f(): ...\n",
            },
        ),
    ).public()
    assert found["pkg.g"] == found["pkg.lang.g"] == ("pkg.lang.inner", 3)
    assert found["pkg.tl"] == ("pkg.lang.inner", 1)
    assert "pkg.h" not in found
    assert "pkg.lang.f" in found
    assert "pkg.lang.inner" in found


def test_import_circles_end() -> None:
    found = names(a="from .b import y\nx = 1\n", b="from .a import x\ny = 1\n").public()
    assert {"pkg.a.x", "pkg.a.y", "pkg.b.x", "pkg.b.y"} <= set(found)


@pytest.mark.parametrize(
    "text",
    [
        "def __getattr__(name): ...",
        "globals()['a'] = 1",
        "setattr(m, 'a', 1)",
        "from .gone import *",
    ],
)
def test_a_module_that_may_have_more_names_is_not_closed(text: str) -> None:
    assert "pkg.a" not in names(a=text).closed_modules()
    assert "pkg" in names(a=text).closed_modules()


def test_private_modules_are_neither_listed_nor_closed() -> None:
    found = names(_hidden="x = 1")
    assert not any("_hidden" in name for name in [*found.public(), *found.closed_modules()])


def test_sources_that_this_python_cannot_parse_are_named() -> None:
    sources = Sources("pkg", {"pkg/__init__.py": "", "pkg/old.py": "print 'x'\n"})
    assert sources.unparsed == ["pkg/old.py"]
    with pytest.raises(UnreadableSources, match="no readable pkg"):
        Sources("pkg", {"pkg/__init__.py": "print 'x'\n"})


def has(dotted: str, **texts: str) -> bool | None:
    members = {f"p/{name.replace('__', '/')}.py": text for name, text in texts.items()}
    return Names(Sources("p", {"p/__init__.py": "", **members})).has(dotted)


def test_names_are_looked_up_one_by_one() -> None:
    text = "def f(): ...\nfrom p.b import g"
    assert has("p.a", a=text) is True
    assert has("p.a.f", a=text) is True
    assert has("p.a.g", a=text, b="def g(): ...") is True
    assert has("p.a.h", a=text) is False
    assert has("p.c", a=text) is False


def test_what_files_cannot_tell_is_unknown() -> None:
    assert has("p.a.x", a="def __getattr__(name): ...") is None
    assert has("p.a.f.attribute", a="f = object()") is None
    assert has("p.a._private", a="") is None


def test_an_object_may_hide_the_module_of_its_name() -> None:
    root = "from .driver import driver"
    texts = {"p/__init__.py": root, "p/driver.py": "driver = Driver()"}
    assert Names(Sources("p", texts)).has("p.driver.active") is None
