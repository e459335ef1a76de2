"""Which files of the packages that others import from are read."""

from __future__ import annotations

from qdoctor.mining.other_packages import OTHERS, read_of


def test_near_and_public_modules_are_read() -> None:
    texts = {"awq/core.py": "x", "awq/a/b/__init__.py": "y", "awq/a/b/c.py": "z", "awq/_own.py": ""}
    assert read_of("awq", texts) == {"awq/core.py": "x", "awq/a/b/__init__.py": "y"}


def test_of_a_package_of_thousands_the_deepest_are_known_by_name_only() -> None:
    assert read_of("vllm", {"vllm/config.py": "x", "vllm/core/block.py": "y"}) == {
        "vllm/config.py": "x",
        "vllm/core/block.py": "",
    }


def test_distributions_are_named_as_pip_names_them() -> None:
    assert all(name == name.lower() and "_" not in name for name in OTHERS)
