"""Who may import whom (the river), held over the syntax trees."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

# Stage -> what of ours it may import. doctor sees every stage; cli sees doctor and report.
MAY_IMPORT: dict[str, set[str]] = {
    "noun": set(),
    "selected": {"noun"},
    "model": {"noun", "selected"},
    "process": set(),
    "shipped": set(),
    "sources": set(),
    "binaries": set(),
    "cache": {"model"},
    "facts": {"model", "process", "binaries", "sources", "cache"},
    "matrix": {"model", "shipped"},
    "mining": {"model", "process", "binaries", "sources", "matrix", "shipped"},
    "machine": {"model", "matrix"},
    "layers": {"model", "matrix", "machine"},
    "expectation": {"model", "matrix", "machine", "layers"},
    "probes": {"model", "process", "shipped"},
    "rules": {"model", "matrix", "machine", "layers"},
    "diagnosis": {"model", "matrix", "machine", "layers", "rules"},
    "selection": {"model", "matrix", "machine", "layers"},
    "choosing": {
        *("model", "process", "shipped", "matrix", "machine", "probes", "selection", "cache"),
        *("doctor", "judging", "backends", "facts"),
    },
    "report": {"model"},
    "schema": {"model"},
    "backends": {"shipped"},  # and nn, which has no line here: both run in the user's process
}
EXAMINED = {"torch", "triton", "bitsandbytes", "torchao", "transformers"}
PACKAGE = Path(__file__).resolve().parent.parent / "qdoctor"


def _modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path


def _imported(path: Path) -> Iterator[str]:
    """Dotted names that a file imports, relative imports made absolute."""
    package = ("qdoctor", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *filter(None, [node.module])))
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


CASES = [pytest.param(stage, path, id=str(path.relative_to(PACKAGE))) for stage, path in _modules()]


@pytest.mark.parametrize(
    ("stage", "path"), [case for case in CASES if case.values[0] in MAY_IMPORT]
)
def test_a_stage_imports_only_what_lies_upstream(stage: str, path: Path) -> None:
    ours = {
        parts[1]
        for name in _imported(path)
        if (parts := name.split("."))[0] == "qdoctor" and parts[1:]
    }
    strangers = {
        name
        for name in ours
        if name != stage and (name in MAY_IMPORT or name in {"doctor", "judging", "cli"})
    }
    assert strangers <= MAY_IMPORT[stage]


@pytest.mark.parametrize(("stage", "path"), CASES)
def test_the_parent_imports_nothing_that_it_examines(stage: str, path: Path) -> None:
    if stage in {"nn", "backends"}:
        pytest.skip("runs in the user's process, on demand")
    assert not {name.split(".")[0] for name in _imported(path)} & EXAMINED


@pytest.mark.parametrize(("stage", "path"), CASES)
def test_only_process_starts_processes(stage: str, path: Path) -> None:
    if stage != "process":
        assert "subprocess" not in {name.split(".")[0] for name in _imported(path)}


@pytest.mark.parametrize(
    "path", sorted((PACKAGE.parent / "kernels").glob("*.py")), ids=lambda p: p.name
)
def test_kernels_need_only_the_standard_library_to_start(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    assert names <= set(sys.stdlib_module_names)


@pytest.mark.parametrize(("stage", "path"), CASES)
def test_files_stay_readable(stage: str, path: Path) -> None:
    assert stage
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("folder", ["kernels", "tests", "benchmarks"])
def test_files_beside_the_package_stay_readable(folder: str) -> None:
    lines = {
        str(path.relative_to(PACKAGE.parent)): len(path.read_text(encoding="utf-8").splitlines())
        for path in (PACKAGE.parent / folder).rglob("*.py")
    }
    assert lines
    assert not {name for name, count in lines.items() if count > 400}
