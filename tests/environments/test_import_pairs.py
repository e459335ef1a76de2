"""``import bitsandbytes`` beside many tritons, without a GPU: what happens is what the matrix says.

Every wheel is unpacked once; each pair is a virtual environment of its own, made of paths to one
torch, one triton and one bitsandbytes. The machine that the layer judges is what ``qdoctor facts``
reads from that very environment.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import pytest

from qdoctor.layers import bnb_imports
from qdoctor.machine import complete
from qdoctor.matrix import shipped
from qdoctor.model import Facts, from_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from qdoctor.layers import Answer

pytestmark = [
    pytest.mark.environments,
    pytest.mark.skipif(sys.platform != "linux", reason="triton's wheels"),
    pytest.mark.timeout(900),
]

NO_TRITON = ""
# Chosen for what differs between them: when importing asks for triton.ops, for a GPU, for torch's
# compiler, for scipy; and what each triton has.
BITSANDBYTES = ("0.38.1", "0.41.3", "0.42.0", "0.44.1", "0.45.5", "0.48.1", "0.50.2")
TRITON = ("2.1.0", "3.0.0", "3.3.1", "3.7.1", NO_TRITON)
PAIRS = tuple(product(BITSANDBYTES, TRITON))
AT_LEAST = 30
NEWEST = BITSANDBYTES[-1]
IMPORTED = "packaging"  # by the newer releases, beside torch and numpy; scipy is left out
# What the interpreter says when importing fails for the problem of that name.
SAYS = {
    "triton-ops-removed": "No module named 'triton.ops'",
    "triton-import-needs-gpu": "0 active drivers",
    "triton-api-moved-other": "No module named 'triton.",
    "python-module-missing": "No module named 'scipy'",
}


@dataclass(frozen=True)
class Outcome:
    """What importing did, and what the layer says of the same environment."""

    error: str
    answer: Answer

    @property
    def imported(self) -> bool:
        return not self.error


@pytest.fixture(scope="session")
def unpack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """Unpack the wheel of a requirement into a folder, once; they go when the session ends."""
    root = tmp_path_factory.mktemp("releases")

    def unpacked(wanted: str) -> Path:
        folder = root / wanted
        if not folder.exists():
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
            options = ["--only-binary", ":all:", "--target", str(folder)]
            subprocess.run([*pip, *options, wanted], check=True)
        return folder

    yield unpacked
    shutil.rmtree(root)


@pytest.fixture(scope="session")
def outcomes(
    unpack: Callable[[str], Path],
    shared_torch: Path,
    tmp_path_factory: pytest.TempPathFactory,
    bare_environ: dict[str, str],
) -> dict[tuple[str, str], Outcome]:
    """Import in all pairs, two at a time, and ask the layer about each."""
    bnb = {version: unpack(f"bitsandbytes=={version}") for version in BITSANDBYTES}
    triton = {version: unpack(f"triton=={version}") for version in TRITON if version}
    shared = [shared_torch, unpack(IMPORTED)]
    root = tmp_path_factory.mktemp("pairs")

    def outcome(pair: tuple[str, str]) -> Outcome:
        paths = [*shared, bnb[pair[0]], *([triton[pair[1]]] if pair[1] else [])]
        return _outcome(root / "-".join(pair), paths, bare_environ)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(PAIRS, pool.map(outcome, PAIRS), strict=True))


def _outcome(folder: Path, paths: list[Path], environ: dict[str, str]) -> Outcome:
    python = _environment(folder, paths)
    return Outcome(_import_error(python, environ), _answer(python, environ))


def _environment(folder: Path, paths: list[Path]) -> Path:
    venv.create(folder, symlinks=True)
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "shared.pth").write_text("".join(f"{path}\n" for path in paths))
    return folder / "bin" / "python"


def _import_error(python: Path, environ: dict[str, str]) -> str:
    """Import bitsandbytes; ``""``: it worked, else the end of the traceback."""
    run = [str(python), "-I", "-B", "-c", "import bitsandbytes"]  # nothing from where we stand
    ended = subprocess.run(run, env=environ, capture_output=True, text=True, check=False)
    return "" if ended.returncode == 0 else ended.stderr[-2000:] or str(ended.returncode)


def _answer(python: Path, environ: dict[str, str]) -> Answer:
    facts = [sys.executable, "-m", "qdoctor", "facts", "--python", str(python)]
    ended = subprocess.run(facts, env=environ, capture_output=True, text=True, check=True)
    plain = json.loads(ended.stdout)
    del plain["schema"]
    matrix = shipped()
    return bnb_imports(complete(from_plain(plain, Facts, str(python)), matrix), matrix)


def test_there_are_enough_pairs() -> None:
    assert len(PAIRS) >= AT_LEAST
    assert shutil.which("nvidia-smi") is None, "this table is about machines without a GPU"


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"bnb-{pair[0]}-triton-{pair[1] or 'no'}")
def test_importing_does_what_the_matrix_says(
    pair: tuple[str, str], outcomes: dict[tuple[str, str], Outcome]
) -> None:
    outcome = outcomes[pair]
    said = f"{outcome.answer.value}: {outcome.answer.reason}"
    assert outcome.answer.value == ("yes" if outcome.imported else "no"), (said, outcome.error)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"bnb-{pair[0]}-triton-{pair[1] or 'no'}")
def test_a_failing_import_fails_for_the_reason_given(
    pair: tuple[str, str], outcomes: dict[tuple[str, str], Outcome]
) -> None:
    outcome = outcomes[pair]
    if outcome.imported:
        assert outcome.answer.rule is None
    else:
        assert SAYS[outcome.answer.rule or ""] in outcome.error, outcome.answer.reason


def test_a_release_without_a_package_that_it_imports(
    unpack: Callable[[str], Path],
    shared_torch: Path,
    tmp_path: Path,
    bare_environ: dict[str, str],
) -> None:
    paths = [shared_torch, unpack(f"bitsandbytes=={NEWEST}")]
    outcome = _outcome(tmp_path / "without", paths, bare_environ)
    assert f"No module named '{IMPORTED}'" in outcome.error
    assert outcome.answer.value == "no"
    assert IMPORTED in outcome.answer.reason


def test_both_ends_are_seen(outcomes: dict[tuple[str, str], Outcome]) -> None:
    failed = [outcome for outcome in outcomes.values() if not outcome.imported]
    assert {outcome.answer.rule for outcome in failed} == set(SAYS)
    assert len(failed) < len(outcomes)
