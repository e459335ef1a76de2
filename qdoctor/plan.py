"""A plan to install packages, as nouns: ``planned`` works one out, rules and verdicts read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qdoctor.implied_packages import SOME_VERSION

if TYPE_CHECKING:
    from qdoctor.model import Because


class Problem(msgspec.Struct, frozen=True):
    """Why an installer would refuse the plan; ``spec`` is what it would take, ``why`` that."""

    package: str
    text: str
    because: tuple[Because, ...] = ()
    spec: str | None = None
    why: str = ""


class Plan(msgspec.Struct):
    """Planned versions by canonical name, and what was assumed to arrive at them.

    ``kept`` are installed already and stay; ``problems`` keep the plan from installing, ``doubts``
    keep that from being known; ``unjudged`` are packages that the matrix does not hold; ``absent``
    are imported by what is planned and brought by nothing that is; ``brought`` are absent today and
    come with what is planned; of those in ``open`` it is not known whether they do.
    """

    packages: dict[str, str] = msgspec.field(default_factory=dict)
    kept: list[str] = msgspec.field(default_factory=list)
    assumptions: list[str] = msgspec.field(default_factory=list)
    problems: list[Problem] = msgspec.field(default_factory=list)
    doubts: list[str] = msgspec.field(default_factory=list)
    unjudged: list[str] = msgspec.field(default_factory=list)
    absent: list[str] = msgspec.field(default_factory=list)
    brought: list[str] = msgspec.field(default_factory=list)
    open: list[str] = msgspec.field(default_factory=list)

    @property
    def laid_over(self) -> dict[str, str]:
        """What the plan makes of the packages: versions, ``""`` for absent, ``"?"`` for some."""
        beside = {**dict.fromkeys(self.absent, ""), **dict.fromkeys(self.brought, SOME_VERSION)}
        return {**beside, **self.packages}
