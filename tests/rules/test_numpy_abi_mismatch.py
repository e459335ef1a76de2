"""numpy-abi-mismatch: where it fires, where not, and where the deciding fact is unknown."""

from __future__ import annotations

from collections.abc import Callable

from qdoctor.model import Finding

Ask = Callable[..., dict[str, Finding]]

NAME = "numpy-abi-mismatch"
TEXT = """
  File "/v/lib/python3.11/site-packages/scipy/spatial/_kdtree.py", line 4, in <module>
    from ._ckdtree import cKDTree, cKDTreeNode
  File "_ckdtree.pyx", line 1, in init scipy.spatial._ckdtree
ValueError: numpy.dtype size changed, may indicate binary incompatibility. Expected 96 from C header
"""


def test_fires_beside_a_newer_numpy(ask: Ask) -> None:
    found = ask("h100", error=TEXT, packages={"numpy": "2.4.6", "scipy": "1.11.4"})[NAME]
    assert (found.severity, found.explains_error) == ("error", True)
    assert [(fix.package, fix.spec) for fix in found.fixes] == [
        ("numpy", "<2"),
        ("scipy", ">1.11.4"),
    ]


def test_is_silent_on_a_numpy_without_an_older_abi(ask: Ask) -> None:
    assert NAME not in ask("h100", error=TEXT, packages={"numpy": "1.26.4"})


def test_is_silent_without_numpy_and_without_the_text(ask: Ask) -> None:
    assert NAME not in ask("h100", error=TEXT, packages={"numpy": ""})
    assert NAME not in ask("h100", packages={"numpy": "2.4.6"})


def test_a_text_accuses_where_numpy_is_unknown(ask: Ask) -> None:
    found = ask("h100", error=TEXT, packages={"numpy": None})[NAME]
    assert found.explains_error
    assert found.fixes[0].spec == "<2"


def test_a_numpy_older_than_what_was_compiled_is_upgraded(ask: Ask) -> None:
    text = "module compiled against API version 0xf but this version of numpy is 0xe"
    found = ask("a100", error=text, packages={"numpy": "1.21.5"})[NAME]
    assert found.explains_error
    assert (found.fixes[0].action, found.fixes[0].spec) == ("upgrade", ">1.21.5")
    assert NAME not in ask("a100", packages={"numpy": "1.21.5"})
