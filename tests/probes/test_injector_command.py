"""The failure injector through the real command line, with two small kernels in place of ours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from qdoctor.schema import schema
from qdoctor.shipped import kernels_folder, matrix_folder
from tests.probes.wards import FOLDER, HEALTHY

PACKAGE = Path(__file__).resolve().parents[2] / "qdoctor"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="harms that POSIX knows")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of our own whose kernels are the two small ones; they get two seconds."""
    folder = tmp_path_factory.mktemp("tree")
    shutil.copytree(PACKAGE, folder / "qdoctor", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "matrix").symlink_to(matrix_folder())
    (folder / "kernels").mkdir()
    for path in [*kernels_folder().glob("_*.py"), *FOLDER.glob("*.py")]:
        text = path.read_text(encoding="utf-8").replace('"seconds": 20', '"seconds": 2')
        (folder / "kernels" / path.name).write_text(text, encoding="utf-8")
    return folder


def check(tree: Path, packages: Path, mark: str, harm: str = "") -> tuple[int, dict[str, Any], str]:
    """Run ``qdoctor check`` on this interpreter with an empty torch: exit code, report, stderr."""
    environ = {
        **{name: value for name, value in os.environ.items() if name != "QDOCTOR_INJECT"},
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": f"{tree}{os.pathsep}{packages}",
        "QDOCTOR_TEST_MARK": mark,
        **({"QDOCTOR_INJECT": harm} if harm else {}),
    }
    argv = ["check", "--python", sys.executable, "--probe", "full", "--format", "json"]
    done = subprocess.run(
        [sys.executable, "-m", "qdoctor", *argv],
        cwd=tree,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    report = json.loads(done.stdout)
    jsonschema.Draft202012Validator(schema("report")).validate(report)
    assert report["exit_code"] == done.returncode
    return done.returncode, report, done.stderr


def usable(report: dict[str, Any], backend: str) -> str:
    return next(str(one["usable"]) for one in report["verdicts"] if one["backend"] == backend)


def test_without_a_harm_all_is_well(tree: Path, packages: Path, clean_world: str) -> None:
    code, report, _ = check(tree, packages, clean_world)
    assert (code, usable(report, "half")) == (0, "yes")
    assert {one["outcome"] for one in report["observations"]} == {"passed"}
    assert "injected" not in json.dumps(report)


@pytest.mark.parametrize(
    ("harm", "code", "half", "outcome"),
    [
        ("segfault@run", 1, "no", "crashed"),
        ("wrong-numbers@answer", 1, "no", "wrong"),
        ("illegal-memory-access@run", 1, "no", "failed"),
        ("hang-ignoring-sigterm@run", 3, "unknown", "timed-out"),
        ("allocate@load", 3, "unknown", "failed"),
        ("corrupt-result@end", 3, "yes", "failed"),  # it had answered, and that was kept
        ("exit-0@load", 3, "unknown", "failed"),
        ("fork@run", 0, "yes", "passed"),
        ("flood-stdout@run", 0, "yes", "passed"),
    ],
)
def test_a_harm_ends_in_a_whole_report(  # noqa: PLR0913, PLR0917 - a table
    tree: Path, packages: Path, clean_world: str, harm: str, code: int, half: str, outcome: str
) -> None:
    found, report, _ = check(tree, packages, clean_world, f"{HEALTHY}:{harm}")
    harmed = [one for one in report["observations"] if one["probe"] == HEALTHY]
    others = [one for one in report["observations"] if one["probe"] != HEALTHY]
    assert harmed[-1]["outcome"] == outcome
    assert any(text.startswith(f"injected: {harm}") for text in harmed[-1]["evidence"])
    assert {one["outcome"] for one in others} == {"passed"}
    assert (found, usable(report, "half")) == (code, half)
