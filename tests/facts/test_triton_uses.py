"""What installed packages use of triton, read from files as installers lay them."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from qdoctor.facts import reading_sources
from qdoctor.facts.interpreter import Distribution
from qdoctor.facts.triton_names import read_triton_has
from qdoctor.facts.triton_uses import read_triton_uses
from qdoctor.model import Facts, FoundPackage, TritonUse
from qdoctor.sources import files, modules
from qdoctor.sources.files import LARGEST

if TYPE_CHECKING:
    import ast
    from collections.abc import Callable
    from pathlib import Path

KERNEL = "import triton.language as tl\n\ndef f(x):\n    return tl.libdevice.llrint(x)\n"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"QDOCTOR_CACHE_DIR": str(tmp_path / "cache")}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


def installed(site: Path, name: str = "kernels", **texts: str | bytes) -> Distribution:
    """Lay a distribution with a RECORD: ``a__b="..."`` is the file NAME/a/b.py."""
    listed = []
    for member, text in {"__init__": "", **texts}.items():
        inner = member if member == "__init__" else member.replace("__", "/")
        path = site / name / f"{inner}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        listed.append(f"{name}/{inner}.py,sha256=x,1")
    metadata = site / f"{name}-1.0.dist-info"
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text(f"Name: {name}\nVersion: 1.0\n")
    (metadata / "RECORD").write_text("\n".join([*listed, f"{metadata.name}/METADATA,,"]))
    return Distribution(name, "1.0", str(metadata / "METADATA"), str(site))


def uses(*distributions: Distribution, environ: dict[str, str]) -> list[TritonUse]:
    found, unread = read_triton_uses(distributions, environ)
    assert not unread
    return found


def test_names_are_told_with_their_places(site: Path, environ: dict[str, str]) -> None:
    one = installed(site, __init__="from . import op", op=KERNEL)
    assert uses(one, environ=environ) == [
        TritonUse("kernels", "kernels/op.py", {"triton.language": 1}, "import"),
        TritonUse("kernels", "kernels/op.py", {"triton.language.libdevice.llrint": 4}, "later"),
    ]


def test_a_file_that_does_not_speak_of_triton_is_not_parsed(
    site: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str | bytes] = []
    real = modules.parsed

    def noted(text: str | bytes) -> ast.Module:
        seen.append(text)
        return real(text)

    monkeypatch.setattr(files, "parsed", noted)
    plain = installed(site, "plain", op="x = (" * 1000)
    named = installed(site, "named", op="# like triton, in words only")
    assert uses(plain, named, environ=environ) == []
    assert seen == []
    uses(installed(site, "real", op=KERNEL, other="x = 1"), environ=environ)
    assert KERNEL.encode() in seen
    assert b"x = 1" not in seen


def test_tests_and_examples_of_a_package_do_not_count(site: Path, environ: dict[str, str]) -> None:
    one = installed(site, tests__test_op=KERNEL, examples__one=KERNEL)
    assert uses(one, environ=environ) == []


def test_torch_and_triton_are_left_out(site: Path, environ: dict[str, str]) -> None:
    both = [installed(site, name, op=KERNEL) for name in ("torch", "triton")]
    assert uses(*both, environ=environ) == []


class Counting:
    """Counts how often files of a distribution are read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        real = reading_sources.uses_in

        def counted(package: str, files: dict[str, Path]) -> object:
            self.times += 1
            return real(package, files)

        monkeypatch.setattr(reading_sources, "uses_in", counted)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    return Counting(monkeypatch)


def test_what_is_unchanged_is_read_once(
    site: Path, environ: dict[str, str], counting: Counting
) -> None:
    one = installed(site, op=KERNEL)
    assert uses(one, environ=environ) == uses(one, environ=environ)
    assert counting.times == 1


def test_another_install_is_read_anew(
    site: Path, environ: dict[str, str], counting: Counting
) -> None:
    uses(installed(site, op=KERNEL), environ=environ)
    found = uses(installed(site, op="import triton", more="x = 1"), environ=environ)
    assert counting.times == 2
    assert [use.names for use in found] == [{"triton": 1}]


def test_a_file_that_counted_is_read_anew_when_it_is_edited(
    site: Path, environ: dict[str, str], counting: Counting
) -> None:
    one = installed(site, op=KERNEL)
    uses(one, environ=environ)
    (site / "kernels" / "op.py").write_text("import triton.ops.matmul\n")
    assert [use.names for use in uses(one, environ=environ)] == [{"triton.ops.matmul": 1}]
    assert counting.times == 2


def test_an_editable_install_is_followed_to_its_folder(
    tmp_path: Path, site: Path, environ: dict[str, str]
) -> None:
    project = tmp_path / "project"
    installed(project, "mine", op=KERNEL)
    metadata = site / "mine-0.1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: mine\n")
    (metadata / "RECORD").write_text("_mine.pth,,\nmine-0.1.dist-info/METADATA,,\n")
    (site / "_mine.pth").write_text(f"import os\n{project}\n/no/such/folder\n")
    one = Distribution("mine", "0.1", str(metadata / "METADATA"), str(site))
    assert [use.when for use in uses(one, environ=environ)] == ["later"]
    (project / "mine" / "__init__.py").write_text("from mine import op")
    assert [use.when for use in uses(one, environ=environ)] == ["import", "later"]


def test_an_editable_finder_is_followed_to_its_mapping(
    tmp_path: Path, site: Path, environ: dict[str, str]
) -> None:
    installed(tmp_path / "src", "mine", op=KERNEL)
    metadata = site / "mine-0.1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: mine\n")
    finder = "__editable___mine_0_1_finder.py"
    (metadata / "RECORD").write_text(f"{finder},,\n")
    mapping = {"mine": str(tmp_path / "src" / "mine")}
    (site / finder).write_text(f"import sys\nMAPPING: dict[str, str] = {mapping!r}\n")
    one = Distribution("mine", "0.1", str(metadata / "METADATA"), str(site))
    assert {use.file for use in uses(one, environ=environ)} == {"mine/op.py"}


def test_metadata_without_a_record_names_its_packages(site: Path, environ: dict[str, str]) -> None:
    one = installed(site, op=KERNEL)
    (site / "kernels-1.0.dist-info" / "RECORD").unlink()
    assert uses(one, environ=environ) == []
    (site / "kernels-1.0.dist-info" / "top_level.txt").write_text("kernels\n../../etc\n")
    (site / "kernels-1.0.dist-info" / "METADATA").write_text("Name: kernels\n")
    assert {use.file for use in uses(one, environ=environ)} == {"kernels/op.py"}


def test_a_long_record_is_read_to_its_end(site: Path, environ: dict[str, str]) -> None:
    one = installed(site, op=KERNEL)
    record = site / "kernels-1.0.dist-info" / "RECORD"
    record.write_text(f"{'kernels/data/x.bin,sha256=x,1' + chr(10)}" * 100_000 + record.read_text())
    assert record.stat().st_size > LARGEST
    assert [use.file for use in uses(one, environ=environ)] == ["kernels/op.py"]


def test_a_package_of_too_much_source_is_read_in_part_and_said(
    site: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MOST", len(KERNEL) + 10)
    found, unread = read_triton_uses([installed(site, op=KERNEL, other=KERNEL)], environ)
    assert [use.file for use in found] == ["kernels/op.py"]
    assert "is left out" in unread["triton_names.kernels"]


HOSTILE: dict[str, bytes] = {
    "nul": b"import triton\0",
    "undecodable": b"import triton\n\xff\xfe\xfa",
    "nested": b"import triton\nx = " + b"(" * 50_000,
    "signs": b"import triton\nx = " + b"not " * 50_000 + b"1",
    "attributes": b"import triton\ntriton" + b".x" * 20_000,
    "sum": b"import triton\nx = " + b"+".join([b"triton.a"] * 20_000),
    "ifs": b"import triton\n" + b"\n".join(b" " * i + b"if x:" for i in range(99)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_sources_hurt_nothing(site: Path, environ: dict[str, str], name: str) -> None:
    one = installed(site, bad=HOSTILE[name], op=KERNEL)
    found, unread = read_triton_uses([one], environ)
    told = {name for use in found for name in use.names}
    assert "triton.language.libdevice.llrint" in told or unread


@pytest.mark.skipif(sys.platform == "win32", reason="no FIFOs or such links")
def test_what_is_no_file_is_not_waited_for(site: Path, environ: dict[str, str]) -> None:
    one = installed(site, op=KERNEL, fifo="", loop="", huge="", gone="")
    for name in ("fifo", "loop", "huge", "gone"):
        (site / "kernels" / f"{name}.py").unlink()
    os.mkfifo(site / "kernels" / "fifo.py")
    (site / "kernels" / "loop.py").symlink_to(site / "kernels" / "loop.py")
    with (site / "kernels" / "huge.py").open("wb") as file:
        file.truncate(LARGEST + 1)
    found, unread = read_triton_uses([one], environ)
    assert {use.file for use in found} == {"kernels/op.py"}
    said = unread["triton_names.kernels"]
    assert all(name in said for name in ("fifo", "loop", "huge", "gone"))


def test_paths_that_lead_out_are_not_followed(
    tmp_path: Path, site: Path, environ: dict[str, str]
) -> None:
    one = installed(site)
    (tmp_path / "outside.py").write_text(KERNEL)
    record = site / "kernels-1.0.dist-info" / "RECORD"
    record.write_text(
        f"../outside.py,,\n{tmp_path}/outside.py,,\nkernels/../../outside.py,,\n\0,\n"
    )
    assert uses(one, environ=environ) == []


def test_what_takes_too_long_is_left_out_and_said(site: Path, environ: dict[str, str]) -> None:
    time = iter(range(100))
    both = [installed(site, name, op=KERNEL) for name in ("first", "second_one")]
    clock: Callable[[], float] = lambda: next(time)  # noqa: E731
    found, unread = read_triton_uses(both, environ, seconds=1.5, clock=clock)
    assert {use.package for use in found} == {"first"}
    assert "second_one" in unread["triton_names"]


def test_an_installed_triton_tells_which_names_it_has(site: Path) -> None:
    file = site / "triton" / "__init__.py"
    file.parent.mkdir()
    file.write_text("from . import language\n")
    (site / "triton" / "language.py").write_text("def dot(): ...\n")
    names = {"triton.language.dot": 1, "triton.language.libdevice": 2, "triton.language.dot.x": 3}
    facts = Facts(
        packages_found=[FoundPackage("triton", "99.0", str(file))],
        triton_names=[TritonUse("pkg", "pkg/a.py", names, "later")],
    )
    assert read_triton_has(facts).triton_has == {
        "triton.language.dot": True,
        "triton.language.libdevice": False,
    }
    assert read_triton_has(Facts()).triton_has is None
