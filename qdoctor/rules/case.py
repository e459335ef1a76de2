"""What a rule is, and the case it is asked about: a machine, what ran on it, and an error text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qdoctor.model import Because, Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from qdoctor.layers import Answer, Layer
    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix
    from qdoctor.model import Observation
    from qdoctor.plan import Problem


class Signal(msgspec.Struct, frozen=True):
    """One known error text that was recognized in what the user showed.

    ``rules`` are the problems known to print it, the likeliest first; ``line`` is the line it
    ends on and ``position`` where; ``said`` holds what the text itself states (a version, a CUDA
    release), by the names of the signature's groups; ``printed_by`` which releases of a package can
    print it, as a specifier set; ``asked_by`` the installed modules whose calls led there, as the
    traceback above it says, the last call first; ``raised_in`` the one whose own code raised it;
    ``confirmed`` those of the rules that the text alone does not accuse: facts must confirm them.
    """

    signature: str
    rules: tuple[str, ...]
    line: str
    position: int
    source: str
    said: dict[str, str] = msgspec.field(default_factory=dict)
    printed_by: dict[str, str] = msgspec.field(default_factory=dict)
    asked_by: tuple[str, ...] = ()
    raised_in: str = ""
    confirmed: tuple[str, ...] = ()


class Case(msgspec.Struct, frozen=True):
    """Everything a rule may look at; a rule is a pure function of it."""

    machine: Machine
    observations: tuple[Observation, ...]
    matrix: Matrix
    signals: tuple[Signal, ...] = ()
    refused: tuple[Problem, ...] = ()
    """Why an installer would refuse the planned packages; empty without a plan."""
    answers: dict[Layer, Answer] = msgspec.field(default_factory=dict)
    """What each layer answered: many rules ask about the same few."""
    candidates: tuple[Machine, ...] = ()
    """The machines that this may be, where only a text tells the release of a package."""
    beside: tuple[Observation, ...] = ()
    """What ran on other GPUs of the same model, where the machine has several."""

    def ask(self, layer: Layer) -> Answer:
        """Put one layer's question to this machine."""
        if layer not in self.answers:
            self.answers[layer] = self._answer(layer)
        return self.answers[layer]

    def _answer(self, layer: Layer) -> Answer:
        """Ask every machine that this may be: what they agree in is known."""
        alone = self.machine.ask(layer, self.matrix)
        if alone.value != "unknown" or not self.candidates:
            return alone
        every = [layer(one, self.matrix) for one in self.candidates]
        return every[-1] if len({(one.value, one.rule) for one in every}) == 1 else alone

    def signals_of(self, rule: str) -> tuple[Signal, ...]:
        """Return the recognized error texts that may come from ``rule``, one of each kind.

        A traceback holds a text twice: in the source line that raises it, and then as what was
        raised, which is what to quote.
        """
        kinds: dict[tuple[str, ...], Signal] = {}
        for signal in self.signals:
            if rule in signal.rules:
                kind = (signal.signature, *signal.said.values())
                kinds[kind] = signal
        return tuple(kinds.values()) if kinds else ()

    def said(self, rule: str, name: str) -> str | None:
        """Return what an error text of ``rule`` states under ``name``; None where it does not."""
        return next((s.said[name] for s in self.signals_of(rule) if s.said.get(name)), None)


class Suspicion(msgspec.Struct, frozen=True):
    """Why a rule speaks up. ``undecided`` names what facts leave open where only a text accuses."""

    because: list[Because]
    undecided: str | None = None


class Rule(msgspec.Struct, frozen=True):
    """One problem: its name, its documentation, and how it is found.

    ``symptom_of`` names the rules whose problem brings this one about: where one of them is found,
    this finding is folded under it. ``covered`` is False for a problem that is known by its text
    only: this version cannot look into it, so its findings stay undecided. ``harmless`` is True
    where nothing is wrong with the environment: the finding stays a note even where it is the
    answer. ``aside`` is True for what a GPU never had: unless it is asked for, everything else is
    said first.
    """

    name: str
    doc: str
    find: Callable[[Case], Iterable[Finding]]
    symptom_of: tuple[str, ...] = ()
    covered: bool = True
    harmless: bool = False
    aside: bool = False


def rule(  # noqa: PLR0913 - a rule has these parts
    name: str,
    doc: str | None,
    find: Callable[[Case], Iterable[Finding]],
    *,
    symptom_of: tuple[str, ...] = (),
    covered: bool = True,
    harmless: bool = False,
    aside: bool = False,
) -> Rule:
    """Make a rule of a module's docstring (absent under ``python -OO``) and its function."""
    return Rule(name, doc or "", find, symptom_of, covered, harmless, aside)


def suspect(case: Case, name: str, answer: Answer) -> Suspicion | None:
    """Weigh a layer's answer and the error text: None where nothing speaks for the problem.

    Facts that say ``no`` are enough, if they say so because of this rule. Where they leave it open
    an error text accuses; where they say ``yes`` a text that usually means this problem does not.
    """
    texts = [quoted(signal) for signal in case.signals_of(name)]
    if answer.value == "no" and answer.rule in (None, name):
        return Suspicion([*_in_words(answer), *texts])
    if answer.value == "unknown" and texts:
        return Suspicion(texts, undecided=answer.reason)
    return None


def accused(case: Case, name: str, undecided: str) -> Suspicion | None:
    """Suspect a problem that only an error text can show; ``undecided`` says what is not known."""
    texts = [quoted(signal) for signal in case.signals_of(name)]
    return Suspicion(texts, undecided) if texts else None


def _in_words(answer: Answer) -> list[Because]:
    """Say the layer's reason at the place of its first evidence, where that does not say it."""
    first, rest = answer.because[:1], answer.because[1:]
    told = [
        one if one.text in answer.reason else Because(answer.reason, one.source, one.strength)
        for one in first
    ]
    return [*told, *rest]


def quoted(signal: Signal) -> Because:
    """Cite an error text as evidence."""
    text = f"the error text says: {signal.line}"
    return Because(text=text, source=f"known from {signal.source}", strength="observed")
