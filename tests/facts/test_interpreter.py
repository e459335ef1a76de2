"""Real interpreters of many ages and states answer, or say why not, and never take us along."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qdoctor.facts import interpreter
from qdoctor.facts.interpreter import NoAnswer, Reading, ask
from qdoctor.facts.target import interpreter_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def read(python: Path | str, environ: Mapping[str, str]) -> Reading:
    answer = ask(str(python), environ)
    assert isinstance(answer, Reading), answer
    return answer


@pytest.mark.parametrize("minor", range(6, 16))
def test_every_python_3_answers(
    minor: int, environ: dict[str, str], require: Callable[[str], Path]
) -> None:
    python = require(f"3.{minor}")
    answer = read(python, environ)
    assert answer.python.version.startswith(f"3.{minor}.")
    assert Path(answer.python.executable).exists()
    assert answer.python.headers is any(Path(answer.python.base_prefix).rglob("Python.h"))
    assert answer.packages["torch"] == answer.packages["bitsandbytes"] == ""
    assert answer.unread == {}


def test_python_2_says_that_it_is_too_old(
    environ: dict[str, str], require: Callable[[str], Path]
) -> None:
    answer = ask(str(require("2.7")), environ)
    assert isinstance(answer, NoAnswer)
    assert answer.version is not None
    assert answer.version.startswith("2.7.")
    assert "3.6 or newer" in answer.reason


def test_a_venv_without_qdoctor_is_examined_from_outside(
    bare_venv: Path, environ: dict[str, str]
) -> None:
    answer = read(interpreter_in(bare_venv) or "", environ)
    assert Path(answer.python.prefix).samefile(bare_venv)
    assert Path(answer.python.base_prefix).samefile(sys.base_prefix)
    assert "qdoctor" not in answer.packages
    assert answer.packages_found == []


def test_versions_agree_with_importlib_metadata(environ: dict[str, str]) -> None:
    ours = read(sys.executable, environ).packages
    theirs = {
        re.sub(r"[-_.]+", "-", dist.metadata["Name"]).lower(): dist.version
        for dist in importlib.metadata.distributions()
        # torch's compiler imports setuptools, which puts what it brings along onto this path
        if not {"facts", "_vendor"} & set(Path(str(dist.locate_file(""))).parts)
    }
    assert {name: version for name, version in ours.items() if version} == theirs


def test_a_shadowing_copy_is_found_in_import_order(
    tmp_path: Path,
    bare_venv: Path,
    environ: dict[str, str],
    lay: Callable[..., Path],
    lay_bare: Callable[[Path, str, str], Path],
) -> None:
    site = next(bare_venv.glob("lib/python*/site-packages"))
    first, second = tmp_path / "first", tmp_path / "second"
    lay_bare(first, "triton", "__version__ = '9.9'\nraise SystemExit('imported')\n")
    lay(second, "triton", "2.1.0", "filelock")
    answer = read(
        site.parents[2] / "bin" / "python", {**environ, "PYTHONPATH": f"{first}:{second}"}
    )
    assert [(copy.version, Path(copy.file).parents[1]) for copy in answer.packages_found] == [
        ("9.9", first),
        ("2.1.0", second),
    ]
    assert answer.packages["triton"] == "9.9"
    assert "triton" not in answer.requires, "the pins of a copy that is not imported"


def test_a_path_that_is_no_text_is_answered(
    tmp_path: Path, environ: dict[str, str], lay: Callable[..., Path]
) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    lay(folder, "triton", "2.1.0")
    answer = read(sys.executable, {**environ, "PYTHONPATH": str(folder)})
    assert answer.packages["triton"] == "2.1.0"
    assert any("caf\ufffd" in copy.file for copy in answer.packages_found)
    assert "triton" not in answer.folders
    assert all("caf" not in entry for entry in answer.path)
    assert all("no UTF-8" in answer.unread[fact] for fact in ("native", "triton_names"))


def test_a_copy_that_an_editable_install_redirects_to_comes_first(
    tmp_path: Path, environ: dict[str, str], lay_bare: Callable[[Path, str, str], Path]
) -> None:
    lay_bare(tmp_path / "site", "triton", "__version__ = '1'\n")
    source = lay_bare(tmp_path / "checkout", "triton", "__version__ = '2'\n")
    hook = f"""
import importlib.util, sys

class Finder:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name == "triton":
            return importlib.util.spec_from_file_location(name, {str(source / "__init__.py")!r})

sys.meta_path.insert(0, Finder)
"""
    (tmp_path / "site" / "sitecustomize.py").write_text(hook)
    answer = read(sys.executable, {**environ, "PYTHONPATH": str(tmp_path / "site")})
    assert [copy.version for copy in answer.packages_found if copy.name == "triton"][:2] == [
        "2",
        "1",
    ]
    assert answer.packages["triton"] == "2"


def test_no_temporary_folder_is_said(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    answer = ask(sys.executable, environ)
    assert isinstance(answer, NoAnswer)
    assert "TMPDIR" in answer.reason
    assert answer.for_want_of_room


def test_a_full_disk_is_not_laid_to_the_interpreter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environ: dict[str, str]
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'OSError: [Errno 28] No space left on device' >&2\nexit 1\n")
    python.chmod(0o755)
    answer = ask(str(python), environ)
    assert isinstance(answer, NoAnswer)
    assert answer.reason.startswith("it ended with exit code 1 and no answer: OSError")
    assert not answer.for_want_of_room
    full = shutil.disk_usage(tmp_path)._replace(free=4096)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    answer = ask(str(python), environ)
    assert isinstance(answer, NoAnswer)
    assert "no room" in answer.reason
    assert "set TMPDIR to a folder with room" in answer.reason
    assert answer.for_want_of_room


def test_the_scripts_that_cross_keep_to_old_syntax() -> None:
    folder = Path(interpreter.__file__).parent
    for name in ("_in_target.py", "_in_target_reader.py"):
        ast.parse((folder / name).read_text(encoding="utf-8"), feature_version=(3, 7))


def test_copies_are_named_after_their_distribution(
    tmp_path: Path, environ: dict[str, str], lay_bare: Callable[[Path, str, str], Path]
) -> None:
    lay_bare(tmp_path, "open_clip", "__version__ = '2.24.0'\n")
    answer = read(sys.executable, {**environ, "PYTHONPATH": str(tmp_path)})
    names = [copy.name for copy in answer.packages_found]
    assert "open-clip-torch" in names
    assert set(names) <= set(answer.packages)


def test_the_pins_of_what_is_imported_are_read(
    tmp_path: Path, environ: dict[str, str], lay: Callable[..., Path]
) -> None:
    lay(tmp_path, "torch", "2.1.2+cu121", "triton==2.1.0 ; platform_machine", "sympy")
    answer = read(sys.executable, {**environ, "PYTHONPATH": str(tmp_path)})
    assert answer.packages["torch"] == "2.1.2+cu121"
    assert answer.requires["torch"] == ["triton==2.1.0 ; platform_machine", "sympy"]


def test_our_own_folder_and_the_current_one_are_not_searched(
    tmp_path: Path,
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    bare_venv: Path,
    lay_bare: Callable[[Path, str, str], Path],
) -> None:
    lay_bare(tmp_path, "torch", "__version__ = '1'\n")
    monkeypatch.chdir(tmp_path)
    assert read(interpreter_in(bare_venv) or "", environ).packages["torch"] == ""


@pytest.mark.parametrize("hook", ["print('{\"python\": 1}')", "raise RuntimeError('hook')"])
def test_a_site_hook_that_prints_or_raises_disturbs_nothing(
    hook: str, tmp_path: Path, environ: dict[str, str]
) -> None:
    (tmp_path / "sitecustomize.py").write_text(hook + "\n")
    answer = read(sys.executable, {**environ, "PYTHONPATH": str(tmp_path)})
    assert answer.python.prefix == sys.prefix


def test_a_site_hook_that_ends_the_interpreter_is_said(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    hook = "import os, sys\nsys.stderr.write('licence expired\\n')\nos._exit(7)\n"
    (tmp_path / "sitecustomize.py").write_text(hook)
    answer = ask(sys.executable, {**environ, "PYTHONPATH": str(tmp_path)})
    assert isinstance(answer, NoAnswer)
    assert "exit code 7" in answer.reason
    assert "licence expired" in answer.reason


def test_a_site_hook_that_hangs_is_ended(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "sitecustomize.py").write_text("import time\ntime.sleep(600)\n")
    began = time.monotonic()
    answer = ask(sys.executable, {**environ, "PYTHONPATH": str(tmp_path)}, seconds=1.0)
    assert isinstance(answer, NoAnswer)
    assert "did not answer" in answer.reason
    assert time.monotonic() - began < 60


def test_an_exit_code_after_the_answer_does_not_spoil_it(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    hook = "import atexit, os\natexit.register(os._exit, 3)\n"
    (tmp_path / "sitecustomize.py").write_text(hook)
    assert read(sys.executable, {**environ, "PYTHONPATH": str(tmp_path)}).python.version


def test_a_standard_library_that_is_gone_is_said(environ: dict[str, str], tmp_path: Path) -> None:
    answer = ask(sys.executable, {**environ, "PYTHONHOME": str(tmp_path)})
    assert isinstance(answer, NoAnswer)
    assert "exit code 1" in answer.reason
    assert "No module named 'encodings'" in answer.reason
    assert f"PYTHONHOME is {tmp_path}, no home of this interpreter: unset it" in answer.reason


@pytest.mark.skipif(sys.platform == "win32", reason="a shim is a shell script")
def test_a_shim_that_has_nothing_to_start_says_so(tmp_path: Path, environ: dict[str, str]) -> None:
    shim = tmp_path / "python3.12"
    said = "pyenv: python3.12: command not found"
    shim.write_text(f"#!/bin/sh\necho '{said}' >&2; echo 'Note: see help' >&2; exit 127\n")
    shim.chmod(0o755)
    answer = ask(str(shim), environ)
    assert isinstance(answer, NoAnswer)
    assert answer.reason.endswith(f"no answer: {said}")


@pytest.mark.parametrize(
    "program", ["#!/bin/sh\nexit 5\n", "#!/bin/sh\necho '{}' > \"$3/answer.json\"\n"]
)
def test_a_program_that_is_no_python_gives_no_answer(
    program: str, tmp_path: Path, environ: dict[str, str]
) -> None:
    fake = tmp_path / "python"
    fake.write_text(program)
    fake.chmod(0o755)
    assert isinstance(ask(str(fake), environ), NoAnswer)


def test_a_program_that_cannot_start_gives_no_answer(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    answer = ask(str(tmp_path / "python"), environ)
    assert isinstance(answer, NoAnswer)
    assert "cannot be started" in answer.reason
