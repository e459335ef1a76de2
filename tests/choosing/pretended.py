"""A pretended machine, and a pretended measurement on it: what is asked of it, and its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qdoctor import choosing
from qdoctor.choosing import devices, key
from qdoctor.model import Candidate, SelectedFor, Selection

if TYPE_CHECKING:
    import pytest

    from qdoctor.model import Asked

H100 = devices.Device("NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3 [10de 2330]", "GPU-1")


class Here:
    """This machine, as far as it is looked at; after ``has`` it is looked at anew.

    packages: of each, its version and the stamp of its files; watched: the files that show a
    change.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.driver, self.gpus = "580.1", [H100]
        self.packages = {"torch": "2.11.0 stamp"}
        self.watched: list[str] = []
        monkeypatch.setattr(
            devices, "hardware", lambda: devices.Hardware(self.driver, list(self.gpus))
        )
        monkeypatch.setattr(key, "installed", lambda: (self.packages, self.watched))
        key._latest.clear()

    def has(
        self, *gpus: devices.Device, packages: dict[str, str] | None = None, watched: str = ""
    ) -> None:
        """Let it have these GPUs and packages; without any, those that it had."""
        self.gpus = list(gpus) or self.gpus
        self.packages = packages or self.packages
        self.watched = [watched] if watched else self.watched
        key._latest.clear()


def candidate(name: str, usable: str = "yes", lost: str | None = None, **more: float) -> Candidate:
    plain = {"backend": name, "usable": usable, "reason": f"{name} was looked at", "lost": lost}
    return msgspec.convert({**plain, **more}, Candidate)


def found(question: Asked) -> Selection:
    """What is found unless a test says otherwise: bnb-int8."""
    return Selection(
        asked=question,
        selected="bnb-int8",
        reason="it is the fastest",
        device=SelectedFor(H100.name, "9.0"),
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


class Chooser:
    """Stands for the whole way: notes what it is asked, and answers as it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[Asked] = []
        self.answer = found
        monkeypatch.setattr(choosing, "choose", self._choose)

    def _choose(self, question: Asked, *_: object) -> Selection:
        self.asked.append(question)
        return self.answer(question)
