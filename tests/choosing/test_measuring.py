"""Real children on the CPU, some with backends that harm themselves: each costs only itself."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from qdoctor import process
from qdoctor.choosing import measuring
from qdoctor.choosing.measured import HALF, Measured, figures
from qdoctor.choosing.measuring import Wish, measure
from tests.choosing.conftest import choose, measured

REAL = Path(measuring.__file__).parent
FAKES = """
import itertools, os, time
import torch
from qdoctor.choosing import bench, samples

class Kind:
    def __init__(self, name): self.name = name
    def why_not(self, linear, *, training=False):
        return "it is too odd" if self.name == "bnb-fp4" else ""
    def weight_bytes(self, module): return module.weight.numel() * module.weight.element_size()
    def replaced(self, linear, *, training=False):
        made = Layer(linear.in_features, linear.out_features, dtype=linear.weight.dtype)
        made.load_state_dict(linear.state_dict())
        made.does = DOES.get(self.name, lambda x: None)
        made.calls = 0
        return made

class Layer(torch.nn.Linear):
    def forward(self, x):
        self.calls += 1
        self.does(self)
        y = super().forward(x)
        return y[:, :-1] if self.does is narrow else y

def narrow(layer): pass
def crash(layer):
    if layer.calls > 3: os.abort()
def hang(layer): time.sleep(600)
def leave(layer): os._exit(7)
def refuse(layer): raise NotImplementedError("no kernel for this\\x1b[31m shape")
def starve(layer): raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
def lose(layer):
    def lost(self): raise RuntimeError("CUDA error: an illegal memory access was encountered")
    bench.Bench.wait = lost
    raise RuntimeError("CUDA error: an illegal memory access was encountered")
def disturb(layer):
    count = itertools.count()
    samples.interruptions = lambda: next(count)
def slow(layer): time.sleep(0.1)
def delay(layer): time.sleep(0.3)

DOES = {DOES}

def named(name):
    print("noise on stdout")
    if name == "torchao-int8": raise ImportError("torchao is broken")
    return Kind(name)
"""
SHAPES = [(32, 64, 64), (8, 64, 32)]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Fake]:
    """A package qdoctor with the real measuring and made-up backends."""
    Fake.folder = tmp_path / "qdoctor"
    (Fake.folder / "backends").mkdir(parents=True)
    (Fake.folder / "__init__.py").write_text("")
    (Fake.folder / "choosing").symlink_to(REAL)
    (Fake.folder / "backends" / "precision.py").write_text(
        "def half_dtype(device):\n    import torch\n    return torch.bfloat16\n"
    )
    monkeypatch.setattr(measuring, "_PACKAGE", Fake.folder / "__init__.py")
    return Fake


class Fake:
    """Measures with backends of which some do harm."""

    folder: Path

    @classmethod
    def measure(cls, seconds: float = 20.0, **does: str) -> Measured:
        harm = ", ".join(f"{name.replace('_', '-')!r}: {what}" for name, what in does.items())
        text = FAKES.replace("DOES = {DOES}", f"DOES = {{{harm}}}")
        (cls.folder / "backends" / "__init__.py").write_text(text)
        names = (HALF, *(name.replace("_", "-") for name in does), "qdoctor-switchback")
        return measure(
            Wish(tuple(dict.fromkeys(names)), SHAPES, "cpu", seconds=seconds),
            sys.executable,
            os.environ,
        )


def undisturbed(found: Measured) -> list[str]:
    """The notes but for those that depend on what else this machine is doing."""
    busy = (measuring._DISTURBED, *measuring._unsteady(found))
    return [note for note in found.notes if note not in busy]


def is_whole(found: Measured, *names: str) -> bool:
    return all(figures(found, name) is not None for name in names)


def test_the_shipped_backends_are_measured(tmp_path: Path) -> None:
    wish = Wish(("half", "qdoctor-switchback"), SHAPES, "cpu", seconds=20)
    said: list[str] = []
    found = measure(wish, sys.executable, {**os.environ, "HOME": str(tmp_path)}, said.append)
    assert is_whole(found, "half", "qdoctor-switchback")
    half, ours = (figures(found, name) for name in ("half", "qdoctor-switchback"))
    assert half
    assert ours
    assert half.speedup == half.ratio == 1.0
    assert (half.bytes_per_weight, half.error < 0.004) == (2.0, True)
    assert 0.004 < ours.error < 0.03
    assert 1.0 < ours.bytes_per_weight < 1.2
    assert (found.device.name, found.failed, undisturbed(found)) == ("the CPU", {}, [])
    assert {one.repetitions >= 7 for one in found.timed["half"]} == {True}
    assert list(tmp_path.iterdir()) == []
    assert 0 < found.starting_seconds < found.seconds
    assert said == ["measuring half, qdoctor-switchback at 2 shapes on cpu"]


@pytest.mark.parametrize(
    ("does", "why"),
    [
        ("crash", "SIGABRT"),
        ("leave", "exit status 7"),
        ("lose", "illegal memory access"),
    ],
)
def test_what_takes_its_process_with_it_costs_only_itself(
    fake: type[Fake], does: str, why: str
) -> None:
    found = fake.measure(bnb_int8=does)
    assert is_whole(found, "half", "qdoctor-switchback")
    assert list(found.failed) == ["bnb-int8"]
    assert why in found.failed["bnb-int8"]
    assert figures(found, "bnb-int8") is None


def test_what_hangs_is_stopped_and_costs_only_itself(
    fake: type[Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "_STALL_SECONDS", 2.0)
    began = time.monotonic()
    found = fake.measure(bnb_int8="hang")
    assert time.monotonic() - began < 100
    assert is_whole(found, "half", "qdoctor-switchback")
    assert "hung while being prepared: stopped after 2 s" in found.failed["bnb-int8"]


@pytest.mark.parametrize(
    ("does", "why"),
    [
        ("refuse", "NotImplementedError: no kernel for this [31m shape"),
        ("starve", "out-of-memory: "),
        ("narrow", "it returned (32, 63), not (32, 64)"),
    ],
)
def test_what_raises_or_computes_something_else_is_unknown_with_the_reason(
    fake: type[Fake], does: str, why: str
) -> None:
    found = fake.measure(bnb_int8=does)
    assert is_whole(found, "half", "qdoctor-switchback")
    assert found.failed == {}
    own = found.timed["bnb-int8"][0]
    assert own.milliseconds is None
    assert why in (own.unknown or "")


def test_what_cannot_be_imported_says_so(fake: type[Fake]) -> None:
    found = fake.measure(torchao_int8="narrow")
    assert "torchao is broken" in found.failed["torchao-int8"]
    assert is_whole(found, "half", "qdoctor-switchback")


def test_a_layer_that_is_left_alone_has_the_figures_of_half(fake: type[Fake]) -> None:
    found = fake.measure(bnb_fp4="narrow")
    own, half = found.timed["bnb-fp4"][0], found.timed["half"][0]
    assert (own.left, own.milliseconds) == ("it is too odd", half.milliseconds)


def test_a_much_slower_one_is_measured_least_often(fake: type[Fake]) -> None:
    found = fake.measure(bnb_int8="slow")
    times = [found.timed[name][0].repetitions for name in ("bnb-int8", "half")]
    assert times[0] < times[1]


def test_without_half_nothing_else_is_measured(fake: type[Fake]) -> None:
    found = fake.measure(half="crash", bnb_int8="narrow")
    assert "SIGABRT" in found.failed["half"]
    assert figures(found, "half") is figures(found, "qdoctor-switchback") is None


def test_what_starting_and_importing_took_is_told_apart(fake: type[Fake]) -> None:
    package = fake.folder / "backends" / "precision.py"
    package.write_text("import time\ntime.sleep(1.5)\n" + package.read_text())
    found = fake.measure(seconds=4.0, bnb_int8="delay")
    assert found.starting_seconds >= 1.5
    assert found.seconds - found.starting_seconds >= 2.0
    assert found.failed == {}


def test_every_process_that_is_started_counts(fake: type[Fake]) -> None:
    package = fake.folder / "backends" / "precision.py"
    package.write_text("import time\ntime.sleep(1.5)\n" + package.read_text())
    found = fake.measure(bnb_int8="leave")
    assert 3.0 <= found.starting_seconds < found.seconds


def test_what_ends_before_all_is_imported_was_but_started(fake: type[Fake]) -> None:
    (fake.folder / "backends" / "precision.py").write_text("import os\nos._exit(7)\n")
    found = fake.measure(bnb_int8="narrow")
    assert "exit status 7" in found.failed["half"]
    assert found.seconds - 1.0 < found.starting_seconds <= found.seconds


def test_when_the_time_is_over_the_rest_is_named(fake: type[Fake]) -> None:
    found = fake.measure(seconds=0.001)
    assert found.timed["half"][0].milliseconds is not None
    assert found.timed["half"][1].unknown == "the budget of 0.001 s was over"
    assert undisturbed(found) == [
        "not measured at 8 rows of 64 to 32: the budget of 0.001 s was over",
    ]


def test_a_shape_that_not_all_were_measured_at_in_time_counts_for_none(fake: type[Fake]) -> None:
    found = fake.measure(seconds=4.0, bnb_int8="delay", torchao_fp8="delay")
    assert is_whole(found, "half", "bnb-int8", "torchao-fp8", "qdoctor-switchback")
    later = [found.timed[name][1] for name in found.timed]
    assert {one.unknown for one in later} == {"the budget of 4 s was over"}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("CUDA error: CUDA-capable device(s) is/are busy or unavailable", "gpu-busy"),
        ("CUDA error: out of memory", "out-of-memory"),
    ],
)
def test_a_device_that_is_full_or_in_another_process_hands_is_a_reason(
    fake: type[Fake], error: str, code: str
) -> None:
    (fake.folder / "backends" / "precision.py").write_text(
        f"def half_dtype(device):\n    raise RuntimeError({error!r})\n"
    )
    found = fake.measure(bnb_int8="narrow")
    assert found.failed["half"].startswith(f"{code}: RuntimeError: {error}")
    selection = choose("latency", found)
    assert (selection.selected, selection.measured) == ("half", False)
    assert f"nothing could be measured ({code}: " in selection.reason


def test_that_other_programs_had_the_cores_is_said(fake: type[Fake]) -> None:
    found = fake.measure(bnb_int8="disturb")
    assert is_whole(found, "half", "bnb-int8", "qdoctor-switchback")
    assert all(cell.disturbed for cells in found.timed.values() for cell in cells)
    assert found.notes == [measuring._DISTURBED]


def test_that_times_spread_too_wide_is_said_though_no_core_was_taken() -> None:
    times = {"half": 1.0, "torch-fp8": 0.6, "bnb-int8": 0.9}
    assert measuring._unsteady(measured(times)) == []
    found = measured(times, spreads={"torch-fp8": 1.56, "bnb-int8": 0.09})
    (note,) = measuring._unsteady(found)
    assert note.startswith(
        "the times of torch-fp8 spread by up to 156 %, so they are uncertain: something else may"
    )
    wide = measured(times, spreads={"torch-fp8": 1.56}, disturbed=["half"])
    assert measuring._unsteady(wide) == [measuring._DISTURBED]


def test_that_operands_may_have_come_from_the_cache_is_said(
    fake: type[Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = measuring._read
    monkeypatch.setattr(
        measuring, "_read", lambda path: msgspec.structs.replace(real(path), cramped=True)
    )
    assert fake.measure(seconds=2.0).notes[0].startswith("the device had little memory free")


@pytest.mark.parametrize(
    "where", ["tempfile.TemporaryDirectory", "qdoctor.choosing.measuring._prepare"]
)
def test_a_folder_that_cannot_be_had_is_a_reason(
    monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(where, full)
    found = measure(Wish(("half",), SHAPES, "cpu"), sys.executable, os.environ)
    assert "No space left on device; set TMPDIR to a folder with room" in found.failed["half"]


def test_an_interpreter_that_does_not_start_is_a_reason(tmp_path: Path) -> None:
    wish = Wish(("half",), SHAPES, "cpu")
    found = measure(wish, str(tmp_path / "python"), os.environ)
    assert "could not be started" in found.failed["half"]


def test_a_torch_that_does_not_import_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.13: no such file')")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    found = measure(Wish(("half",), SHAPES, "cpu"), sys.executable, env)
    assert "libcudart.so.13" in found.failed["half"]


def test_the_examined_interpreter_needs_none_of_our_requirements(tmp_path: Path) -> None:
    for name in ("msgspec", "click", "rich", "platformdirs", "elftools", "pynvml"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not here')")
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "1"}
    wish = Wish(("half", "qdoctor-switchback", "bnb-nf4", "torch-fp8"), SHAPES[:1], "cpu")
    found = measure(wish, sys.executable, env)
    assert found.failed == {}
    assert is_whole(found, *wish.backends)


def test_an_interrupt_leaves_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    real = process.start

    def start(*args: Any, **more: Any) -> Any:  # noqa: ANN401
        started.append(real(*args, **more))
        return started[-1]

    def interrupt(_: Path) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(process, "start", start)
    monkeypatch.setattr(measuring, "_now_bytes", interrupt)
    with pytest.raises(KeyboardInterrupt):
        measure(Wish(("half",), SHAPES, "cpu"), sys.executable, os.environ)
    assert not process.is_running(started[0].pid)


@pytest.mark.skipif(sys.platform != "linux", reason="prctl(2)")
def test_whoever_measures_may_be_killed_and_its_child_ends_too(tmp_path: Path) -> None:
    sign = tmp_path / "sign"
    (tmp_path / "torch.py").write_text(
        f"import os, time\nopen({str(sign)!r}, 'w').write(str(os.getpid()))\n"
        f"os.rename({str(sign)!r}, {str(tmp_path / 'child')!r})\ntime.sleep(600)\n"
    )
    code = (
        "import os, sys\nfrom qdoctor.choosing.measuring import Wish, measure\n"
        "measure(Wish(('half',), [(8, 8, 8)], 'cpu'), sys.executable, os.environ)\n"
    )
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    environ = {**os.environ, "PYTHONPATH": path, "TMPDIR": str(tmp_path)}
    until = time.monotonic() + 30
    with subprocess.Popen([sys.executable, "-c", code], env=environ) as asker:
        while not (tmp_path / "child").exists():
            assert time.monotonic() < until
            assert asker.poll() is None
            time.sleep(0.02)
        asker.kill()
    child = int((tmp_path / "child").read_text())
    while process.is_running(child) and time.monotonic() < until:
        time.sleep(0.05)
    if process.is_running(child):
        os.kill(child, signal.SIGKILL)
        pytest.fail("it runs on")
