"""What probes showed of this very machine, laid over what the matrix says of its layers.

An observation speaks for a machine only if it was made on the device that is judged; one that only
compiled, for the SM that is judged, and then only against it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from qdoctor import layers
from qdoctor.answered import gave_no_answer, rule_against, speaks_of
from qdoctor.layers import Answer
from qdoctor.layers.int8 import igemm_variant
from qdoctor.model import Because, Observation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix

_BY_PATH = "by-int8-path"
_SPEAKS_AGAINST = ("wrong", "failed", "crashed")


class Witnesses(msgspec.Struct, frozen=True):
    """One machine, what ran on it, and the matrix."""

    machine: Machine
    observations: tuple[Observation, ...]
    matrix: Matrix
    answers: dict[str, Answer] = msgspec.field(default_factory=dict)
    """What each layer answered: every backend asks about the same few."""

    def of_backend(self, row: dict[str, Any]) -> Observation | None:
        """Return the observation that shows a backend itself, the one that decides most.

        A pass outranks a failure of another variant, unless that one is ``required``; what only
        compiled counts if it failed.
        """
        if not self.observations:
            return None
        own = [probe for probe in row["probes"] if "layers" not in probe]
        seen = [one for probe in own for one in self._seen(probe)]
        ran = [one for one in seen if one.ran]
        decided = self._required(own) or self._passed(own) or _against(ran)
        if decided is not None:
            return decided
        silent = next((one for one in ran if gave_no_answer(one)), None)
        if silent is not None:
            return silent
        return next((one for one in seen if not one.ran and one.outcome in _SPEAKS_AGAINST), None)

    def _required(self, own: list[dict[str, Any]]) -> Observation | None:
        """Return the failure of a variant without which the backend is of no use."""
        required = [probe for probe in own if probe.get("required", False)]
        return _against([one for probe in required for one in self._seen(probe) if one.ran])

    def _passed(self, own: list[dict[str, Any]]) -> Observation | None:
        showing = [probe for probe in own if probe.get("shows", True)]
        seen = (one for probe in showing for one in self._seen(probe))
        return next((one for one in seen if one.ran and one.outcome == "passed"), None)

    def limits(self, row: dict[str, Any]) -> Iterator[str]:
        """Yield what a usable backend is known, or was seen, not to do rightly here."""
        for limit in row.get("limits", ()):
            seen = list(self._seen(limit))
            if any(one.ran and one.outcome == "passed" for one in seen):
                continue
            answer, shown = self.ask(limit["layer"]), _against(seen)
            if answer.value == "no":
                yield answer.reason
            elif shown is not None:
                yield f"the probe {shown.probe} ({shown.variant}) {shown.outcome}: {shown.detail}"

    def ask(self, layer: str) -> Answer:
        """Ask one layer by its name: what ran here outranks what the matrix says."""
        if layer not in self.answers:
            asked: layers.Layer = getattr(layers, layer)
            matrix = self.matrix
            self.answers[layer] = self._observed(layer) or self.machine.ask(asked, matrix)
        return self.answers[layer]

    def ask_all(self, layers: Iterable[str]) -> Answer:
        """Ask layers that are all needed: the first no, else the first unknown, else yes."""
        open_: Answer | None = None
        for layer in layers:
            answer = self.answers.get(layer) or self.ask(layer)
            if answer.value == "no":
                return answer
            if answer.value == "unknown" and open_ is None:
                open_ = answer
        return open_ or Answer("yes", "every layer fits")

    def where(self, seen: Observation) -> str:
        """Name the device that an observation was made on."""
        if seen.device == "cpu":
            return "the CPU"
        return f"{self.gpu_named} ({seen.device})" if seen.device else self.gpu_named

    @property
    def gpu_named(self) -> str:
        """The judged GPU as a person would name it."""
        gpu = self.machine.gpu
        name = gpu.name if gpu and gpu.name else "this GPU"
        return (
            f"{name} (SM {gpu.sm})"
            if gpu and gpu.sm and not (gpu.name or "").startswith("sm_")
            else name
        )

    def _observed(self, layer: str) -> Answer | None:
        """Return what a probe showed of a layer: yes if it passed, no if what it needs failed.

        One that gave no answer, and that nothing else speaks for, leaves it unknown.
        """
        silent = None
        for one in self._showing(layer) if self.observations else ():
            source = f"probe {one.probe}" + (f" ({one.variant})" if one.variant else "")
            text = f"{source} {one.outcome} on {self.where(one)}"
            because = Because(f"{text}: {one.detail}" if one.detail else text, source, "observed")
            if one.outcome == "passed" and one.ran:
                return Answer("yes", text, (because,))
            if gave_no_answer(one):
                silent = silent or Answer("unknown", because.text, (because,))
            elif one.outcome in _SPEAKS_AGAINST:
                return Answer("no", because.text, (because,), self._rule(layer, one))
        return silent

    def _showing(self, layer: str) -> Iterator[Observation]:
        """Yield the observations that speak of a layer."""
        table = self.matrix.table("backends")
        for proof in table["proofs"]:
            # A product on the CPU proves nothing of the GPU's layers.
            seen = [one for one in self._seen(proof) if one.device != "cpu"]
            if layer in proof["layers"]:
                yield from (one for one in seen if one.outcome == "passed" and one.ran)
            if layer in proof["denies"]:
                against = [one for one in seen if one.outcome in ("failed", "crashed")]
                yield from (one for one in against if not gave_no_answer(one))
        for row in table["rows"].values():
            for probe in row["probes"]:
                if layer in probe.get("layers", ()):
                    yield from self._seen(probe)

    def _seen(self, probe: dict[str, Any]) -> Iterator[Observation]:
        variant = probe["variant"]
        if variant == _BY_PATH:
            variant = igemm_variant(self.machine, self.matrix)
            if variant is None:
                return
        for one in self.observations:
            if (
                one.probe == probe["probe"]
                and speaks_of(one, variant, self.observations)
                and self._is_here(one)
            ):
                yield one

    def _is_here(self, seen: Observation) -> bool:
        """Say whether an observation was made on what is judged here."""
        gpu = self.machine.gpu
        if not seen.ran:
            compiled_for = (
                None if gpu is None or gpu.sm is None else f"sm_{gpu.sm.replace('.', '')}"
            )
            return seen.device in (None, compiled_for) and (gpu is not None or seen.device is None)
        if seen.device == "cpu":
            return layers.gpu_present(self.machine, self.matrix).value == "no"
        if gpu is None:
            return self.machine.gpus.value is None and seen.device == "cuda:0"
        if seen.device is None:
            return True
        return self.machine.numbered and seen.device == f"cuda:{self.machine.judged}"

    def _rule(self, layer: str, seen: Observation) -> str | None:
        """Name the problem as the matrix does where it agrees, else as the failure itself does."""
        asked: layers.Layer = getattr(layers, layer)
        answer = asked(self.machine, self.matrix)
        if answer.value == "no":
            return answer.rule
        proofs = self.matrix.table("backends")["proofs"]
        named = any(seen.code in proof.get("rules", ()) for proof in proofs)
        return seen.code if named else rule_against(seen)


def _against(ran: list[Observation]) -> Observation | None:
    """Return the first that did not pass, of those that gave an answer."""
    telling = (one for one in ran if not gave_no_answer(one))
    return next((one for one in telling if one.outcome in _SPEAKS_AGAINST), None)
