"""Would a plan install, import and run, and which backends would it make run? Pure.

Each answer presupposes the one before: what does not install is not said to import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor import layers
from qdoctor.exit_code import Need
from qdoctor.layers import Answer, together
from qdoctor.model import PlanStep, PlanVerdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdoctor.layers import Layer
    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix
    from qdoctor.model import Verdict, YesNo
    from qdoctor.plan import Plan

_MOST_NAMES = 8
_OWN_LAYER = {"bitsandbytes": "bnb_installed", "torchao": "torchao_installed"}
"""The layer by which the backends of a package that builds on torch are known."""
_IMPORTS: dict[str, tuple[Layer, ...]] = {
    "torch": (layers.torch_installed, layers.torch_fits_libc),
    "triton": (layers.triton_installed, layers.triton_fits_libc),
    "bitsandbytes": (layers.torch_installed, layers.bnb_imports),
}


def judge(
    plan: Plan, machine: Machine, verdicts: Sequence[Verdict], matrix: Matrix
) -> PlanVerdict | None:
    """Return the verdict on a plan, the machine being as it would leave it; None for no plan."""
    if not plan.packages:
        return None
    installs = _installs(plan)
    imports = _after(installs, "install", _imports(plan, machine, matrix))
    runs = _after(imports, "import", _runs(plan, verdicts, matrix))
    backends = [one.backend for one in verdicts if one.usable == "yes"]
    return PlanVerdict(
        packages=plan.packages,
        installs=installs,
        imports=imports,
        runs=runs,
        backends=backends if runs.answer == "yes" else [],
    )


def needs(plan: PlanVerdict | None) -> list[Need]:
    """Return what a plan leaves open or takes away, as needs; that it does not install is found."""
    if plan is None or plan.installs.answer == "no":
        return []
    steps = {"install": plan.installs, "import": plan.imports, "run": plan.runs}
    for answer in ("no", "unknown"):
        for name, step in steps.items():
            if step.answer == answer:
                return [Need(f"plan to {name}", step.answer, step.reason)]
    return []


def _installs(plan: Plan) -> PlanStep:
    if plan.problems:
        return PlanStep("no", "; ".join(one.text for one in plan.problems))
    held = [name for name in plan.packages if name not in plan.unjudged]
    if plan.doubts or not held:
        return PlanStep("unknown", "; ".join(plan.doubts) or "no planned package is known")
    new = [f"{name} {plan.packages[name]}" for name in held if name not in plan.kept]
    stay = [f"{name} {plan.packages[name]}" for name in held if name in plan.kept]
    parts = [
        f"{', '.join(new)} {'has a wheel' if len(new) == 1 else 'have wheels'}" if new else "",
        f"installed already: {', '.join(stay)}" if stay else "",
        "they accept each other" if len(held) > 1 else "",
        f"not judged: {_some(plan.unjudged)}" if plan.unjudged else "",
    ]
    return PlanStep("yes", "; ".join(part for part in parts if part))


def _some(names: Sequence[str]) -> str:
    left = len(names) - _MOST_NAMES
    more = f" and {left} more" if left > 0 else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _imports(plan: Plan, machine: Machine, matrix: Matrix) -> PlanStep:
    asked = [
        layer(machine, matrix)
        for name, needed in _IMPORTS.items()
        if name in plan.packages
        for layer in needed
    ]
    if "bitsandbytes" in plan.packages:
        asked += _native(machine, matrix)
    if not asked:
        return PlanStep("unknown", "none of the planned packages is one that is judged")
    answer = together(asked)
    return PlanStep(answer.value, answer.reason if answer.value != "yes" else _named(plan))


def _native(machine: Machine, matrix: Matrix) -> list[Answer]:
    """The library that bitsandbytes loads: only a known obstacle counts, a CPU loads another."""
    answer = layers.bnb_fits_libc(machine, matrix)
    return [answer] if answer.value == "no" else []


def _named(plan: Plan) -> str:
    return ", ".join(name for name in _IMPORTS if name in plan.packages)


def _runs(plan: Plan, verdicts: Sequence[Verdict], matrix: Matrix) -> PlanStep:
    """Judge the backends of the most particular planned packages: theirs have to run."""
    own = _own(plan, matrix)
    judged = [one for one in verdicts if one.backend in own]
    if not judged or set(plan.packages) <= set(plan.unjudged):
        return PlanStep("unknown", "no backend that is judged belongs to the planned packages")
    usable = [one.backend for one in judged if one.usable == "yes"]
    if usable:
        others = [one.backend for one in verdicts if one.usable == "yes" and one not in judged]
        also = f"; besides {', '.join(others)}" if others else ""
        return PlanStep("yes", ", ".join(usable) + also)
    open_: YesNo = "unknown" if any(one.usable == "unknown" for one in judged) else "no"
    first = next(one for one in judged if one.usable == open_)
    return PlanStep(open_, f"{first.backend}: {first.reason}")


def _own(plan: Plan, matrix: Matrix) -> list[str]:
    rows = matrix.table("backends")["rows"]
    particular = [layer for name, layer in _OWN_LAYER.items() if name in plan.packages]
    if particular:
        return [name for name, row in rows.items() if set(particular) & set(row["layers"])]
    built_on = set(_OWN_LAYER.values())
    return [name for name, row in rows.items() if not built_on & set(row["layers"])]


def _after(before: PlanStep, verb: str, step: PlanStep) -> PlanStep:
    """Judge a step in the light of the one before it."""
    if before.answer == "no":
        return PlanStep("no", f"it would not {verb}")
    if before.answer == "unknown" and step.answer == "yes":
        return PlanStep("unknown", f"whether it would {verb} is not known")
    return step
