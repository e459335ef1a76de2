"""How an answer is had: once by one process, kept for all, and never one that may be wrong."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ASKER = Path(__file__).with_name("process_that_asks.py")
HOME = Path(__file__).resolve().parent.parent.parent
MANY = 64

posix_only = pytest.mark.skipif(os.name == "nt", reason="modes and signals of POSIX")


class Rig:
    """A folder in which processes ask."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cache = folder, folder / "cache"
        self.within: list[str] = []  # a command that starts the processes
        self.environ = {
            **{name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ},
            "PYTHONPATH": str(HOME),
            "QDOCTOR_CACHE_DIR": str(self.cache),
            "QDOCTOR_DATA_DIR": str(folder / "data"),
        }

    def start(self, **plan: Any) -> subprocess.Popen[str]:  # noqa: ANN401 - JSON
        return subprocess.Popen(
            [*self.within, sys.executable, str(ASKER), str(self.folder), json.dumps(plan)],
            env=self.environ,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ask(self, **plan: Any) -> list[dict[str, Any]]:  # noqa: ANN401
        """Ask in one process and return what it was told, each time it asked."""
        asker = self.start(**plan)
        _, said = asker.communicate(timeout=120)
        assert asker.returncode == 0, said
        told: list[dict[str, Any]] = json.loads(
            (self.folder / f"told.{asker.pid}").read_text(encoding="utf-8")
        )
        return told

    def worked(self) -> int:
        """How often an answer was worked out."""
        return len(list(self.folder.glob("worked.*")))

    def kept(self) -> list[Path]:
        """The files of kept answers."""
        return sorted((self.cache / "selections").glob("[!.]*"))


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_sixty_four_processes_at_once_work_it_out_once_and_agree(rig: Rig) -> None:
    askers = [rig.start(takes=0.5, start=True) for _ in range(MANY)]
    until = time.monotonic() + 240
    while len(list(rig.folder.glob("ready.*"))) < MANY and time.monotonic() < until:
        time.sleep(0.05)
    (rig.folder / "go").write_text("")
    said = [asker.communicate(timeout=240)[1] for asker in askers]
    assert [asker.returncode for asker in askers] == [0] * MANY, said
    told = [json.loads(path.read_text())[-1] for path in rig.folder.glob("told.*")]
    assert len(told) == MANY
    assert rig.worked() == 1
    assert len({one["reason"] for one in told}) == 1
    assert not any(one["said"] for one in told)
    assert [path.name for path in (rig.cache / "selections").iterdir()] == [rig.kept()[0].name]


_TOLD = """
import sys, qdoctor
from qdoctor.choosing import key
key.installed = lambda: ({"torch": "1.0 stamp"}, [])
before = set(sys.modules)
name = qdoctor.select_backend().name
print(name, sorted(one for one in set(sys.modules) - before if not one.startswith("qdoctor")))
"""


def test_another_process_is_told_without_loading_anything(rig: Rig) -> None:
    rig.ask(selects="bnb-nf4")
    done = subprocess.run(
        [sys.executable, "-S", "-c", _TOLD],
        env=rig.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "bnb-nf4 []"
    assert rig.worked() == 1


@pytest.mark.parametrize(
    "change",
    [
        {"environ": {"BNB_CUDA_VERSION": "118"}},
        {"environ": {"LD_LIBRARY_PATH": "/opt/other"}},
        {"asks": {"objective": "memory"}},
        {"asks": {"training": True}},
        {"asks": {"max_error": 0.01}},
        {"asks": {"shapes": [[1, 64, 64]]}},
        {"asks": {"deny": ["bnb-nf4"]}},
    ],
    ids=lambda change: str(next(iter(change.values()))),
)
def test_another_question_is_worked_out_anew(rig: Rig, change: dict[str, Any]) -> None:
    rig.ask()
    rig.environ.update(change.get("environ", {}))
    rig.ask(asks=change.get("asks", {}))
    assert rig.worked() == 2
    rig.ask(asks=change.get("asks", {}))
    assert rig.worked() == 2


def test_variables_that_do_not_matter_do_not(rig: Rig) -> None:
    rig.ask()
    rig.environ |= {"HOSTNAME": "elsewhere", "RANK": "3", "QDOCTOR_COLOR": "x"}
    rig.ask()
    assert rig.worked() == 1


def test_refresh_works_it_out_anew_and_for_all(rig: Rig) -> None:
    rig.ask(selects="half")
    assert rig.ask(asks={"refresh": True}, selects="bnb-nf4")[0]["name"] == "bnb-nf4"
    assert rig.ask()[0]["name"] == "bnb-nf4"
    assert rig.worked() == 2


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _garble(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _foreign_format(path: Path) -> None:
    path.write_text('{"selected": "bnb-fp4"}')


def _open_file(path: Path) -> None:
    path.chmod(0o666)


def _open_folder(path: Path) -> None:
    path.parent.chmod(0o777)


def _open_cache(path: Path) -> None:
    path.parent.parent.chmod(0o770)


def _link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def _link_folder(path: Path) -> None:
    aside = path.parent.with_name("aside")
    path.parent.rename(aside)
    aside.with_name("selections").symlink_to(aside)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir(0o700)


@posix_only
@pytest.mark.parametrize(
    ("harm", "word"),
    [
        (_truncate, "damaged"),
        (_garble, "damaged"),
        (_empty, "damaged"),
        (_foreign_format, "damaged"),
        (_open_file, "others may write to"),
        (_open_folder, "others may write to"),
        (_open_cache, "others may write to"),
        (_link, "symbolic link"),
        (_link_folder, "symbolic link"),
        (_pipe, "no regular file"),
        (_folder, "no regular file"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_cannot_be_believed_is_not_and_that_is_said_once(
    rig: Rig,
    harm: Callable[[Path], None],
    word: str,
) -> None:
    rig.ask(selects="bnb-nf4")
    harm(rig.kept()[0])
    told = rig.ask(selects="half", times=3)
    assert [one["name"] for one in told] == ["half"] * 3
    assert rig.worked() == 2
    assert len([text for text in told[-1]["said"] if word in text and "is not used" in text]) == 1


@posix_only
def test_a_damaged_answer_is_replaced(rig: Rig) -> None:
    rig.ask()
    _truncate(rig.kept()[0])
    rig.ask()
    assert rig.ask()[-1]["said"] == []
    assert rig.worked() == 2


@posix_only
@pytest.mark.skipif(os.name != "nt" and os.geteuid() != 0, reason="only root gives files away")
def test_an_answer_that_belongs_to_somebody_else_is_not_believed(rig: Rig) -> None:
    rig.ask(selects="bnb-nf4")
    os.chown(rig.kept()[0], 12345, 12345)
    told = rig.ask(selects="half")
    assert told[-1]["name"] == "half"
    assert any("belongs to another user (uid 12345)" in text for text in told[-1]["said"])


@posix_only
def test_files_are_this_users_alone_whatever_the_umask(rig: Rig) -> None:
    before = os.umask(0)
    try:
        rig.ask()
    finally:
        os.umask(before)
    places = [rig.cache, rig.cache / "selections", *rig.kept()]
    assert [stat.S_IMODE(place.stat().st_mode) for place in places] == [0o700, 0o700, 0o600]


@posix_only
def test_a_process_that_dies_at_work_holds_nobody_up(rig: Rig) -> None:
    dead = rig.start(dies=True)
    dead.communicate(timeout=60)
    assert dead.returncode == -9
    began = time.monotonic()
    assert rig.ask()[0]["name"] == "half"
    assert rig.worked() == 2
    assert time.monotonic() - began < 60
    assert [path.name for path in (rig.cache / "selections").iterdir()] == [rig.kept()[0].name]


def hanging(rig: Rig, count: int) -> list[subprocess.Popen[str]]:
    """Let so many processes begin to work, one beside the other, and get nowhere."""
    hung = []
    for number in range(count):
        hung.append(rig.start(takes=600, asks={"budget": 0.5}, patience=0.2))
        until = time.monotonic() + 60
        while rig.worked() <= number and time.monotonic() < until:
            time.sleep(0.02)
    assert rig.worked() == count
    return hung


def test_where_one_works_and_gets_nowhere_one_more_works_for_all(rig: Rig) -> None:
    hung = hanging(rig, 1)
    try:
        askers = [rig.start(takes=1.0, asks={"budget": 0.5}, patience=0.2) for _ in range(8)]
        said = [asker.communicate(timeout=120)[1] for asker in askers]
    finally:
        for one in hung:
            one.kill()
            one.communicate()
    assert [asker.returncode for asker in askers] == [0] * 8, said
    told = [json.loads(path.read_text())[-1] for path in rig.folder.glob("told.*")]
    assert len({one["reason"] for one in told}) == 1
    assert not any(one["said"] for one in told)
    assert rig.worked() == 2


def test_where_three_get_nowhere_the_others_take_the_matrix_and_say_so(rig: Rig) -> None:
    hung = hanging(rig, 3)
    try:
        told = rig.ask(asks={"budget": 0.5}, patience=0.2, times=2)
    finally:
        for one in hung:
            one.kill()
            one.communicate()
    assert rig.worked() == 3
    assert told[0]["name"] == told[1]["name"]
    (said,) = told[-1]["said"]
    assert "3 processes have worked at it for 5 s" in said
    assert "the matrix decides alone for now" in said
    assert not rig.kept()


@posix_only
def test_without_a_cache_every_process_works_and_says_so_once(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    rig.environ["QDOCTOR_CACHE_DIR"] = str(tmp_path / "file" / "cache")
    told = rig.ask(times=3)
    assert [one["name"] for one in told] == ["half"] * 3
    assert rig.worked() == 1  # the process itself remembers
    assert len(told[-1]["said"]) == 1
    assert "cannot be kept" in told[-1]["said"][0]
    assert "QDOCTOR_CACHE_DIR" in told[-1]["said"][0]
    rig.ask()
    assert rig.worked() == 2


def mounted_read_only(folder: Path) -> list[str]:
    """Return a command that starts another where a folder is mounted read-only; skip without."""
    script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'
    words = ["unshare", "-rm", "sh", "-c", script, "sh", str(folder)]
    try:
        tried = subprocess.run([*words, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no unshare(1) to mount a folder with")
    if tried.returncode:
        pytest.skip(f"may mount nothing here: {tried.stderr.strip()}")
    return words


def home_of(rig: Rig) -> Path:
    """Let the cache be where it is by default: in a home folder."""
    home = rig.folder / "home"
    home.mkdir()
    del rig.environ["QDOCTOR_CACHE_DIR"]
    rig.environ["HOME"] = str(home)
    return home


@pytest.mark.skipif(sys.platform != "linux", reason="mounts")
def test_in_a_home_that_is_mounted_read_only_it_works_and_says_so_once(rig: Rig) -> None:
    home = home_of(rig)
    rig.within = mounted_read_only(home)
    told = rig.ask(times=3, selects="bnb-nf4")
    assert [one["name"] for one in told] == ["bnb-nf4"] * 3
    assert rig.worked() == 1
    (said,) = told[-1]["said"]
    assert "Read-only file system" in said
    assert "QDOCTOR_CACHE_DIR" in said
    assert not list(home.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="mounts")
def test_what_was_kept_before_the_home_became_read_only_is_read(rig: Rig) -> None:
    home = home_of(rig)
    rig.ask(selects="bnb-nf4")
    rig.within = mounted_read_only(home)
    told = rig.ask(selects="half")
    assert (told[-1]["name"], told[-1]["said"]) == ("bnb-nf4", [])
    assert rig.worked() == 1
    told = rig.ask(selects="half", asks={"refresh": True})
    assert told[-1]["name"] == "half"
    assert "Read-only file system" in told[-1]["said"][0]
    assert rig.worked() == 2


def test_a_folder_full_of_somebody_elses_files_is_not_written_to(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("years of work")
    rig.environ["QDOCTOR_CACHE_DIR"] = str(tmp_path / "thesis")
    assert "somebody else" in rig.ask()[-1]["said"][0]
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["thesis.tex"]


def test_a_sick_machine_is_half_and_asked_again_later(rig: Rig) -> None:
    told = rig.ask(sick=True, times=2)
    assert [one["name"] for one in told] == ["half", "half"]
    assert rig.worked() == 1
    assert "no such device" in told[-1]["reason"]
    assert any("no backend could be selected" in text for text in told[-1]["said"])
    path = rig.kept()[0]
    head = path.read_bytes().split(b"\n")[1].split(b" ")
    assert 0 < float(head[0]) - time.time() <= 601


def test_old_answers_are_deleted_in_time(rig: Rig) -> None:
    rig.ask()
    folder = rig.cache / "selections"
    for number in range(200):
        (folder / f"{number:016x}").write_text("old")
        os.utime(folder / f"{number:016x}", (number, number))
    (folder / ".left.1.ab").write_text("half written")
    os.utime(folder / ".left.1.ab", (1, 1))
    rig.ask(asks={"objective": "memory"})
    assert len(list(folder.iterdir())) == 128
    assert not (folder / ".left.1.ab").exists()
    rig.ask()
    assert rig.worked() == 2


_REAL = """
import json, sys, time, qdoctor
began = time.perf_counter()
backend = qdoctor.select_backend(device="cpu", shapes=[(8, 64, 64)], budget=1)
assert qdoctor.__file__.startswith(sys.argv[1]), qdoctor.__file__
told = [backend.name, "qdoctor.doctor" in sys.modules, "torch" in sys.modules]
print(json.dumps([*told, backend.selection["seconds"], backend.selection["candidates"][0]]))
"""


_LEFT_OUT = ("bitsandbytes", "triton", "torchao", "transformers", "__editable__", "qdoctor")


def torch_alone(folder: Path) -> str:
    """Return an interpreter with torch and what qdoctor needs: the tests' own has more to probe.

    Its packages are links to those beside the tests.
    """
    pytest.importorskip("torch")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    where = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = subprocess.run(where, check=True, capture_output=True, text=True).stdout.strip()
    for name in dict.fromkeys(sysconfig.get_path(one) for one in ("purelib", "platlib")):
        for package in Path(name).iterdir():
            if not package.name.startswith(_LEFT_OUT) and package.suffix != ".pth":
                Path(site, package.name).symlink_to(package)
    return str(python)


@posix_only
def test_for_real_one_process_measures_and_the_others_are_told(rig: Rig, tmp_path: Path) -> None:
    """Nothing is pretended here: probes run, the CPU is measured; it takes some ten seconds."""
    tree = tmp_path / "tree"  # a copy: while somebody works on the sources their stamps change
    for name in ("qdoctor", "kernels", "matrix"):
        shutil.copytree(HOME / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    rig.environ |= {"PYTHONPATH": str(tree), "HOME": str(tmp_path)}
    words = [torch_alone(tmp_path / "alone"), "-c", _REAL, str(tree)]
    askers = [  # elsewhere than in the checkout, which would come before the copy
        subprocess.Popen(words, cwd=tmp_path, env=rig.environ, stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    told = [json.loads(asker.communicate(timeout=280)[0].splitlines()[-1]) for asker in askers]
    assert [one[1] for one in told].count(True) == 1
    assert not any(one[2] for one in told)
    assert all(one[3:] == told[0][3:] and one[0] == told[0][0] for one in told)
    assert told[0][4]["backend"] == "half"
    assert told[0][4]["shapes"][0]["milliseconds"] > 0
