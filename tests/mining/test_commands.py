"""``qdoctor matrix mine`` and ``verify`` against an index on this machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from qdoctor import cli, local_data
from qdoctor.matrix import shipped

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.mining.conftest import Index

pytestmark = pytest.mark.usefixtures("_pip")

LINUX = "cp311-cp311-manylinux_2_28_x86_64"
TRITON = {
    "triton/__init__.py": "from . import language\n",
    "triton/language/__init__.py": "from . import math\n",
    "triton/language/math.py": "def exp(x): ...\ndef llrint(x): ...\n",
    "triton/backends/nvidia/bin/ptxas": b"\0Cuda compilation tools, release 19.8, V19.8.3\n\0",
}
FACTS = {
    "schema": "qdoctor/facts/1",
    "host": {"os": "linux", "machine": "x86_64"},
    "packages": {"torch": "2.5.1", "triton": "99.0.0", "bitsandbytes": "0.42.0"},
}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QDOCTOR_DATA_DIR", str(tmp_path / "own"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "own"


@pytest.fixture
def served(
    index: Index,
    make_wheel: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
    data: Path,
) -> Index:
    wheels = {f"triton-99.0.0-{LINUX}.whl": make_wheel("triton", "99.0.0", TRITON)}
    wheels[f"triton-3.0.0-{LINUX}.whl"] = b"shipped: never read for one's own data"
    index.add("triton", wheels)
    for package in ("bitsandbytes", "torch"):
        index.add(package, {})
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    assert not data.exists()
    return index


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, Any, str]]:
    monkeypatch.setattr("qdoctor.terminal._PATIENCE", 3600.0)  # on a slow machine, too

    def once(*words: str) -> tuple[int, Any, str]:
        code = cli.run([*words, "--format", "json"])
        streams = capsys.readouterr()
        return code, json.loads(streams.out) if streams.out else None, streams.err

    return once


def test_a_release_is_learned_into_ones_own_data(
    run: Callable[..., tuple[int, Any, str]], served: Index, data: Path, tmp_path: Path
) -> None:
    asked = ("matrix", "query", "triton==99.0.0", "has", "triton.language.math.llrint")
    assert run(*asked)[0] == 3
    code, done, _err = run("matrix", "mine", "--only", "triton==99.0.0")
    assert (code, done["written"]) == (0, ["triton==99.0.0"])
    assert done["bytes"] > 0
    assert (data / "matrix" / "releases" / "triton" / "99.0.0.json").is_file()
    code, told, _err = run(*asked)
    assert (code, told["answer"]) == (0, "yes")
    (tmp_path / "facts.json").write_text(json.dumps(FACTS))
    _code, report, _err = run("check", "--facts", "facts.json")
    assert report["matrix_version"] == f"{shipped().version}+local"
    assert "release-unknown-to-matrix" not in [one["rule"] for one in report["findings"]]
    assert served.asked


def test_a_shipped_release_is_never_replaced(
    run: Callable[..., tuple[int, Any, str]], served: Index, data: Path
) -> None:
    code, done, _err = run("matrix", "mine", "--only", "triton==3.0.0", "--refresh")
    assert (code, done["shipped"], served.asked) == (0, "triton 3.0.0", [])
    code, done, _err = run("matrix", "mine", "--package", "triton")
    assert (code, done["written"]) == (0, ["triton==99.0.0"])
    assert [one.name for one in data.rglob("*.json")] != []
    assert not (data / "matrix" / "releases" / "triton" / "3.0.0.json").exists()


def test_mining_again_reads_nothing(
    run: Callable[..., tuple[int, Any, str]], served: Index
) -> None:
    run("matrix", "mine", "--package", "triton")
    served.asked.clear()
    _code, done, _err = run("matrix", "mine", "--package", "triton")
    assert done["written"] == []
    assert all(path.startswith("/wheels/") for path in served.asked)


def test_maintainers_build_a_whole_matrix(
    run: Callable[..., tuple[int, Any, str]], served: Index, tmp_path: Path
) -> None:
    served.add("triton", {f"triton-3.0.0-{LINUX}.whl": served.files[wheel_of("99.0.0")][0]})
    where = str(tmp_path / "matrix")
    code, done, err = run("matrix", "mine", "--only", "triton==3.0.0", "--into", where)
    assert (code, done["folder"], err) == (0, where, "")
    assert json.loads((tmp_path / "matrix" / "index.json").read_text())["packages"] == {
        "triton": ["3.0.0"]
    }


def wheel_of(version: str) -> str:
    return f"/files/triton-{version}-{LINUX}.whl"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "numpy==1.0"], "cannot be mined; what can be: "),
        (["--only", "triton"], "name one release"),
        (["--only", "triton==3.x"], "name one release"),
        (["--package", "numpy"], "cannot be mined"),
        (["--package", "torch", "--only", "triton==99.0.0"], "leaves nothing of"),
    ],
)
def test_what_cannot_be_mined(
    run: Callable[..., tuple[int, Any, str]], served: Index, words: list[str], said: str
) -> None:
    code, _done, err = run("matrix", "mine", *words)
    assert code == 2
    assert said in err
    assert served.asked == []


def test_a_release_that_is_not_there_or_broken_is_unknown(
    run: Callable[..., tuple[int, Any, str]], served: Index
) -> None:
    code, _done, err = run("matrix", "mine", "--only", "triton==98.0.0")
    assert code == 3
    assert "the index has no wheel of triton 98.0.0" in err
    served.files[wheel_of("99.0.0")] = (b"no archive", "application/octet-stream")
    code, done, err = run("matrix", "mine", "--only", "triton==99.0.0")
    assert (code, list(done["failed"])) == (3, ["triton==99.0.0"])
    assert "not a sound ZIP archive" in err


def test_broken_data_of_ones_own_names_the_folder(
    run: Callable[..., tuple[int, Any, str]], served: Index, data: Path
) -> None:
    run("matrix", "mine", "--only", "triton==99.0.0")
    shard = data / "matrix" / "releases" / "triton" / "99.0.0.json"
    whole = shard.read_text()
    for text in ("{", whole.replace('"99.0.0"', '"98.0.0"', 5)):
        shard.write_text(text)
        local_data._together.cache_clear()
        for words in (["query", "triton"], ["show", "torch"], ["mine"], ["verify"]):
            code, _done, err = run("matrix", *words)
            assert code == 2
            assert f"delete your own data, the folder {data / 'matrix'}" in err
    assert served.asked


def test_evidence_is_verified(run: Callable[..., tuple[int, Any, str]], served: Index) -> None:
    run("matrix", "mine", "--only", "triton==99.0.0")
    words = ("matrix", "verify", "--only", "triton==99.0.0", "--sample", "50", "--seed", "1")
    code, done, _err = run(*words)
    assert (code, done["changed"], done["unread"]) == (0, 0, 0)
    assert done["holds"] == len(done["statements"]) > 8
    assert [one["fact"] for one in run(*words)[1]["statements"]] == [
        one["fact"] for one in done["statements"]
    ]
    served.faults[wheel_of("99.0.0")] = ["404"] * 1000
    code, done, err = run(*words)
    assert (code, done["changed"]) == (3, 0)
    assert "could not be read" in err


@pytest.mark.parametrize("changed", ["another wheel", "no wheel"])
def test_a_wheel_that_changed_does_not_hold(
    run: Callable[..., tuple[int, Any, str]],
    served: Index,
    make_wheel: Callable[..., bytes],
    changed: str,
) -> None:
    run("matrix", "mine", "--only", "triton==99.0.0")
    wheel = make_wheel("triton", "99.0.0", TRITON, "Requires-Python: >=3.9")
    wheels = {f"triton-99.0.0-{LINUX}.whl": wheel} if changed == "another wheel" else {}
    served.add("triton", wheels)
    code, done, err = run("matrix", "verify", "--only", "triton==99.0.0", "--seed", "1")
    assert (code, done["holds"]) == (1, 0)
    assert "do not hold" in err


def test_verifying_offline_says_so(
    run: Callable[..., tuple[int, Any, str]],
    monkeypatch: pytest.MonkeyPatch,
    data: Path,
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/wheels")
    monkeypatch.setattr("qdoctor.mining.http.time.sleep", lambda _seconds: None)
    for words in (["verify", "--only", "triton==3.0.0"], ["mine", "--package", "triton"]):
        code, _done, err = run("matrix", *words)
        assert code == 2
        assert "package index" in err or "pip's index" in err
        assert "Traceback" not in err
    assert not data.exists()


def test_only_known_releases_are_verified(run: Callable[..., tuple[int, Any, str]]) -> None:
    assert run("matrix", "verify", "--only", "triton==98.0.0")[0] == 2
    assert run("matrix", "verify", "--package", "numpy")[0] == 2
