"""The program starts beside files that are named like modules it needs, or names the file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

H100 = str(Path(__file__).parent / "machines" / "h100.json")
HOME = str(Path(__file__).parents[1])
# As pip writes the program into an environment's bin folder, since 25.1.
SCRIPT = "import sys\nfrom qdoctor.__main__ import main\nsys.exit(main())\n"
LIBRARY = ("ast", "json", "random", "token", "typing")
REQUIRED = ("click", "msgspec", "rich")
EXAMINED = ("torch", "triton", "bitsandbytes", "numpy")


def qdoctor(
    how: str, folder: Path, *, on_path: bool, words: tuple[str, ...] = ("check", "--facts", H100)
) -> subprocess.CompletedProcess[str]:
    """Run it in ``folder``, which is on PYTHONPATH too where ``on_path``."""
    script = folder.parent / "bin" / "qdoctor"
    script.parent.mkdir(exist_ok=True)
    script.write_text(SCRIPT)
    path = os.pathsep.join([str(folder)] * on_path + [HOME])
    return subprocess.run(
        [sys.executable, *({"module": ["-m", "qdoctor"], "script": [str(script)]}[how]), *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def lay(folder: Path, names: tuple[str, ...]) -> Path:
    folder.mkdir()
    for name in names:
        (folder / f"{name}.py").write_text("raise SystemExit(9)\n")
    return folder


@pytest.mark.parametrize("how", ["module", "script"])
def test_it_runs_in_a_folder_with_any_file(how: str, tmp_path: Path) -> None:
    folder = lay(tmp_path / "here", (*LIBRARY, *REQUIRED, *EXAMINED))
    done = qdoctor(how, folder, on_path=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Selected: qdoctor-switchback" in done.stdout


@pytest.mark.parametrize("how", ["module", "script"])
def test_it_runs_beside_files_on_pythonpath_named_as_pythons_own(how: str, tmp_path: Path) -> None:
    done = qdoctor(how, lay(tmp_path / "here", (*LIBRARY, *EXAMINED)), on_path=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Selected: qdoctor-switchback" in done.stdout


@pytest.mark.parametrize("how", ["module", "script"])
@pytest.mark.parametrize("name", REQUIRED)
def test_a_file_in_place_of_what_it_requires_is_named(how: str, name: str, tmp_path: Path) -> None:
    folder = lay(tmp_path / "here", (name,))
    done = qdoctor(how, folder, on_path=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"qdoctor: {folder / name}.py is imported in place of")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("how", ["module", "script"])
def test_what_python_had_imported_before_is_named(how: str, tmp_path: Path) -> None:
    folder = lay(tmp_path / "here", ())
    (folder / "json").mkdir()
    (folder / "json" / "__init__.py").write_text("")
    (folder / "sitecustomize.py").write_text("import json\n")
    done = qdoctor(how, folder, on_path=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{folder / 'json' / '__init__.py'} is imported in place of Python's own json" in (
        done.stderr
    )
