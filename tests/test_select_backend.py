"""The public ``select_backend`` and ``Backend``, in this process, with a pretended measurement."""

from __future__ import annotations

import sys
import time
import types
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import qdoctor
from qdoctor import BackendUnavailable, BadInput, backends, choosing
from qdoctor.choosing import answering, devices, key, notice
from qdoctor.choosing.cache_reading import Kept
from qdoctor.choosing.request import device_of
from qdoctor.model import Candidate, SelectedFor, Selection, Timed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from qdoctor.model import Asked

H100 = devices.Device("NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3 [10de 2330]", "GPU-1")
T4 = devices.Device("Tesla T4", "Tesla T4 [10de 1eb8]", "GPU-2")


def candidate(name: str, usable: str = "yes", lost: str | None = None, **more: Any) -> Candidate:  # noqa: ANN401
    plain = {"backend": name, "usable": usable, "reason": f"{name} was looked at", "lost": lost}
    return msgspec.convert({**plain, **more}, Candidate)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[Asked]]:
    """What the whole way was asked; it answers with bnb-int8."""
    every: list[Asked] = []

    def choose(question: Asked, *_: object) -> Selection:
        every.append(question)
        return Selection(
            asked=question,
            selected="bnb-int8",
            reason="it is the fastest",
            device=SelectedFor("NVIDIA H100 80GB HBM3", "9.0"),
            measured=True,
            seconds=7.0,
            candidates=[
                candidate("half", lost="it is larger", milliseconds=1.0),
                candidate(
                    "bnb-int8", rel_error=0.012, milliseconds=0.5, speedup_vs_half=2.0,
                    weight_bytes_per_param=1.0,
                ),
                candidate("bnb-nf4", lost="its error is too large", rel_error=0.09),
                candidate("bnb-switchback", "no", lost="it cannot be used here"),
            ],
        )  # fmt: skip

    monkeypatch.setattr(choosing, "choose", choose)
    monkeypatch.setattr(key, "installed", lambda: ({"torch": "2.11.0 stamp"}, []))
    monkeypatch.setenv("QDOCTOR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    show(monkeypatch, H100)
    notice.forget()
    yield every
    answering.forget()
    notice.forget()
    key._latest.clear()


def show(monkeypatch: pytest.MonkeyPatch, *gpus: devices.Device) -> None:
    """Let this machine have these GPUs."""
    key._latest.clear()
    monkeypatch.setattr(devices, "hardware", lambda: devices.Hardware("580.1", list(gpus)))


def test_a_backend_says_what_it_is_and_why(asked: list[Asked]) -> None:
    backend = qdoctor.select_backend()
    assert backend.name == "bnb-int8"
    assert repr(backend) == "<qdoctor backend bnb-int8>"
    assert backend.selection["schema"] == "qdoctor/selection/1"
    assert backend.verdict is not None
    assert backend.verdict.speedup_vs_half == 2.0
    assert backend.verdict.measured_on == "NVIDIA H100 80GB HBM3"
    lines = backend.explain().splitlines()
    assert lines[0] == "selected: bnb-int8: it is the fastest"
    assert "on NVIDIA H100 80GB HBM3 (SM 9.0)" in lines[1]
    assert "bnb-nf4: rel. error 0.09; its error is too large" in lines
    assert len(asked) == 1


def test_the_key_of_an_answer_stands_in_it(asked: list[Asked]) -> None:
    found = qdoctor.select_backend().selection["key"]
    assert asked
    assert found["packages"]["torch"] == "2.11.0"
    assert found["driver"] == "580.1"
    assert found["device"] == "NVIDIA H100 80GB HBM3"
    assert any(line.startswith("device NVIDIA H100") for line in found["lines"])


def test_what_is_asked_arrives(asked: list[Asked]) -> None:
    qdoctor.select_backend(
        "latency", max_error=0.03, shapes=[(1, 64, 128)], device="cuda:0", training=True,
        allow=["bnb-nf4", "bnb-int8"], deny=["torch-fp8"], budget=3,
        max_slowdown=2,
    )  # fmt: skip
    one = asked[0]
    assert one.max_slowdown == 2.0
    assert (one.objective, one.max_error, one.device) == ("latency", 0.03, "cuda:0")
    assert (one.shapes, one.training, one.budget_seconds) == ([(1, 64, 128)], True, 3.0)
    assert (one.allow, one.deny) == (["bnb-int8", "bnb-nf4"], ["torch-fp8"])


def test_equal_questions_are_one(asked: list[Asked]) -> None:
    qdoctor.select_backend(allow=["bnb-nf4", "bnb-int8"], deny=("half",))
    qdoctor.select_backend(allow=("bnb-int8", "bnb-nf4", "bnb-nf4"), deny=["half"], budget=20)
    qdoctor.select_backend(allow=["bnb-nf4", "bnb-int8"], deny=["half"], measure="cached")
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"objective": "latancy"}, "no objective is called 'latancy'; did you mean latency"),
        ({"objective": 3}, "no objective is called"),
        ({"measure": "sometimes"}, "no measure is called 'sometimes'"),
        ({"max_error": 0}, "max_error 0: a number above 0"),
        ({"max_error": "x"}, "max_error 'x'"),
        ({"max_error": float("nan")}, "max_error nan"),
        ({"max_slowdown": 0}, "max_slowdown 0: a number above 0"),
        ({"max_slowdown": "twice"}, "max_slowdown 'twice'"),
        ({"budget": -1}, "budget -1"),
        ({"budget": float("inf")}, "budget inf"),
        ({"allow": ["bnb-nf5"]}, "no backend is called 'bnb-nf5'; did you mean"),
        ({"deny": "bnb-int"}, "no backend is called 'bnb-int'"),
        ({"require": "nf4"}, "no backend is called 'nf4'"),
        ({"max_error": 10**400}, "a number above 0"),
        ({"allow": [3]}, "a list of backends' names"),
        ({"allow": 3}, "allow 3: a list of backends' names"),
        ({"deny": 7}, "deny 7: a list of backends' names"),
        ({"require": 5}, "no backend is called 5"),
        ({"require": ["bnb-nf4"]}, "no backend is called ['bnb-nf4']"),
        ({"require": ""}, "no backend is called ''"),
        ({"require": "bnb-nf4", "deny": ["bnb-nf4"]}, "required, but ruled out"),
        ({"deny": backends.NAMES}, "rule out every backend"),
        ({"allow": "bnb-nf4", "deny": ["half", "bnb-nf4"]}, "rule out every backend"),
        ({"require": "bnb-nf4", "allow": ["bnb-int8"]}, "required, but ruled out"),
        ({"training": "no"}, "training 'no': True or False is meant"),
        ({"budget": True}, "budget True"),
        ({"refresh": True, "measure": "cached"}, "measure='cached' does not: which is meant?"),
        ({"refresh": True, "measure": "never"}, "measure='never' does not: which is meant?"),
        ({"device": "cuda:\u0663"}, "'cpu', 'cuda' or 'cuda:N'"),
        ({"shapes": []}, "shapes"),
        ({"shapes": [(1, 2)]}, "shapes"),
        ({"shapes": [(1, 2, 0)]}, "each at least 1"),
        ({"shapes": [(1, 2, 2**40)]}, "shapes"),
        ({"shapes": [(1, 2, True)]}, "shapes"),
        ({"shapes": 4096}, "shapes"),
        ({"shapes": "16x64x64"}, "shapes '16x64x64'"),
        ({"shapes": [(1.5, 2, 3)]}, "shapes [(1.5, 2, 3)]"),
        ({"device": "mps"}, "'cpu', 'cuda' or 'cuda:N'"),
        ({"device": -1}, "'cpu', 'cuda' or 'cuda:N'"),
        ({"device": "cuda:1"}, "cuda:1 is not there: CUDA shows 1 GPU to"),
        ({"group": object()}, "group: "),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_cannot_be_meant_is_one_clear_error(
    asked: list[Asked], wrong: dict[str, Any], text: str
) -> None:
    with pytest.raises(BadInput) as error:
        qdoctor.select_backend(**wrong)
    assert text in str(error.value)
    assert not asked


def test_a_required_backend_is_taken_or_raises(asked: list[Asked]) -> None:
    backend = qdoctor.select_backend(require="bnb-nf4")
    assert backend.name == backend.selection["selected"] == "bnb-nf4"
    assert "by itself bnb-int8 would be selected" in backend.selection["reason"]
    with pytest.raises(BackendUnavailable, match="bnb-switchback is required") as error:
        qdoctor.select_backend(require="bnb-switchback")
    assert "Fix: " in str(error.value)
    assert "\n" not in str(error.value)
    assert qdoctor.select_backend().name == "bnb-int8"
    assert len(asked) == 1


def test_gpus_of_one_kind_share_an_answer_others_do_not(
    asked: list[Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    show(monkeypatch, H100, devices.Device(H100.name, H100.kind, "GPU-9"))
    qdoctor.select_backend(device=0)
    qdoctor.select_backend(device=1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    qdoctor.select_backend()
    assert len(asked) == 1
    show(monkeypatch, T4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    qdoctor.select_backend()
    assert len(asked) == 2
    qdoctor.select_backend(device="cpu")
    assert len(asked) == 3


def test_a_changed_package_is_seen_at_once(
    asked: list[Asked], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "__init__.py"
    file.write_text("one")

    def found() -> tuple[dict[str, str], list[str]]:
        return {"torch": f"2.11.0 {file.read_text()}"}, [str(file)]

    monkeypatch.setattr(key, "installed", found)
    key._latest.clear()
    qdoctor.select_backend()
    qdoctor.select_backend()
    assert len(asked) == 1
    file.write_text("another")
    qdoctor.select_backend()
    assert len(asked) == 2


def test_a_carried_decision_is_asked_before_the_cache(
    asked: list[Asked], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    qdoctor.select_backend(require="bnb-nf4").export(tmp_path / "selection.json")
    monkeypatch.setenv("QDOCTOR_SELECTION", str(tmp_path / "selection.json"))
    assert qdoctor.select_backend().name == "bnb-nf4"
    assert len(asked) == 1


def test_no_backend_at_all_is_an_answer(
    asked: list[Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        choosing,
        "choose",
        lambda question, *_: Selection(
            asked=question, selected=None, reason="torch is not installed", candidates=[]
        ),
    )
    backend = qdoctor.select_backend()
    assert backend.name is None
    assert backend.verdict is None
    assert backend.explain().startswith("selected: none: torch is not installed\n")
    with pytest.raises(BackendUnavailable, match="torch is not installed"):
        backend.linear(16, 16)
    assert not asked


def test_a_candidate_without_its_figures_is_measured_again_with_more_time(
    asked: list[Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = choosing.choose

    def short(question: Asked, *_: Any) -> Selection:  # noqa: ANN401
        made = whole(question)
        cell = Timed(1, 64, 64, unknown="the time was over")
        cut = msgspec.structs.replace(made.candidates[2], shapes=[cell])
        return msgspec.structs.replace(made, candidates=[*made.candidates[:2], cut])

    monkeypatch.setattr(choosing, "choose", short)
    qdoctor.select_backend(budget=2)
    qdoctor.select_backend(budget=1)
    assert len(asked) == 1
    qdoctor.select_backend(budget=5)
    assert len(asked) == 2


def test_a_disturbed_measurement_is_believed_for_a_day(
    asked: list[Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = choosing.choose

    def disturbed(question: Asked, *_: Any) -> Selection:  # noqa: ANN401
        made = whole(question)
        cell = Timed(1, 64, 64, milliseconds=1.0, disturbed=True)
        half = msgspec.structs.replace(made.candidates[0], shapes=[cell])
        return msgspec.structs.replace(made, candidates=[half, *made.candidates[1:]])

    monkeypatch.setattr(choosing, "choose", disturbed)
    now = [time.time()]
    monkeypatch.setattr(time, "time", lambda: now[0])
    qdoctor.select_backend()
    now[0] += 80000
    answering.forget()
    qdoctor.select_backend()
    assert len(asked) == 1
    now[0] += 10000
    qdoctor.select_backend()
    assert len(asked) == 2


def test_the_current_device_is_asked_only_of_a_torch_that_has_started_cuda(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started = [False]
    cuda = types.SimpleNamespace(is_initialized=lambda: started[0], current_device=lambda: 3)
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))
    assert device_of(None) is None
    assert device_of("cuda") == 0
    started[0] = True
    assert device_of(None) == device_of("cuda") == 3
    assert device_of(types.SimpleNamespace(type="cuda", index=None)) == 3
    assert device_of(types.SimpleNamespace(type="cuda", index=1)) == 1
    assert device_of(types.SimpleNamespace(type="cpu", index=None)) == "cpu"
    assert device_of("cuda:2") == device_of(2) == 2
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    assert device_of(None) is None


def test_a_busy_gpu_is_asked_again_later_and_half_is_used_meanwhile(
    asked: list[Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a full GPU or one in EXCLUSIVE_PROCESS mode: no probe can say that half works."""

    def busy(question: Asked, *_: object) -> Selection:
        asked.append(question)
        candidates = [candidate("half", "unknown")]
        return Selection(asked=question, selected="half", reason="busy", candidates=candidates)

    monkeypatch.setattr(choosing, "choose", busy)
    now = [time.time()]
    monkeypatch.setattr(time, "time", lambda: now[0])
    assert qdoctor.select_backend().name == "half"
    answering.forget()
    assert qdoctor.select_backend().name == "half"
    assert len(asked) == 1
    now[0] += 601
    qdoctor.select_backend()
    assert len(asked) == 2


def test_a_cpu_that_stands_in_for_a_broken_gpu_does_so_for_a_while_only(
    asked: list[Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = choosing.choose

    def on_cpu(question: Asked, *_: Any) -> Selection:  # noqa: ANN401
        found = whole(question)
        return msgspec.structs.replace(found, asked=msgspec.structs.replace(question, device="cpu"))

    monkeypatch.setattr(choosing, "choose", on_cpu)
    now = [time.time()]
    monkeypatch.setattr(time, "time", lambda: now[0])
    qdoctor.select_backend()
    qdoctor.select_backend(device="cpu")
    now[0] += 601
    qdoctor.select_backend(device="cpu")
    assert len(asked) == 2  # the CPU itself was asked for: that holds
    qdoctor.select_backend()
    assert len(asked) == 3


def test_only_looking_starts_no_kernel_and_says_so_where_it_was_asked(
    asked: list[Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    probes: list[str] = []

    def examine(question: Any, **_: object) -> Any:  # noqa: ANN401
        probes.append(question.probe)
        raise OSError("nothing is read in this test")

    monkeypatch.setattr("qdoctor.doctor.examine", examine)
    with pytest.warns(qdoctor.SelectionWarning) as said:
        backend = qdoctor.select_backend(measure="cached")
    assert backend.name == "half"
    assert probes == ["none"]
    assert not asked
    assert {one.filename for one in said} == {__file__}
    assert "no measured selection is kept" in str(said[0].message)
    qdoctor.select_backend()
    assert len(asked) == 1
    assert qdoctor.select_backend(measure="cached").name == "bnb-int8"


def test_a_backend_agreed_for_several_kinds_is_not_carried(tmp_path: Path) -> None:
    body = msgspec.json.encode({"key": {}, "selected": "half"})
    with pytest.raises(BadInput, match="several kinds of device"):
        qdoctor.Backend(Kept("half", body)).export(tmp_path / "selection.json")


def test_an_answer_about_other_copies_of_packages_is_said_and_not_kept_for_long(
    asked: list[Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = choosing.choose

    def elsewhere(question: Asked, *_: Any) -> Selection:  # noqa: ANN401
        packages = {"torch": "2.5.1", "triton": "?", "torchao": ""}
        return msgspec.structs.replace(whole(question), key={"packages": packages})

    monkeypatch.setattr(choosing, "choose", elsewhere)
    now = [time.time()]
    monkeypatch.setattr(time, "time", lambda: now[0])
    with pytest.warns(
        qdoctor.SelectionWarning, match=r"made with torch 2\.5\.1, not 2\.11\.0, which"
    ):
        qdoctor.select_backend()
    now[0] += 601
    qdoctor.select_backend()
    assert len(asked) == 2


def test_a_model_tells_its_shapes(asked: list[Asked]) -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(
        *(torch.nn.Linear(64, 64) for _ in range(3)), torch.nn.Linear(64, 8)
    )
    qdoctor.select_backend(shapes=model)
    one = asked[0]
    assert one.shapes is not None
    assert {shape[1:] for shape in one.shapes} == {(64, 64), (64, 8)}
    assert one.counts == [3 if shape[2] == 64 else 1 for shape in one.shapes]
    qdoctor.select_backend(shapes=model)
    assert len(asked) == 1
    with pytest.raises(BadInput, match=r"no torch\.nn\.Linear"):
        qdoctor.select_backend(shapes=torch.nn.Sequential())


def test_an_embedded_python_gets_half_and_the_reason(
    asked: list[Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "")
    with pytest.warns(qdoctor.SelectionWarning, match="does not know its own interpreter"):
        assert qdoctor.select_backend().name == "half"
    assert not asked
