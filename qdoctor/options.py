"""The options that several commands share, declared once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from qdoctor.model import BadInput
from qdoctor.question import BACKENDS
from qdoctor.report import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable

    Command = Callable[..., Any]


def needs(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a need."""
    from qdoctor.probes.catalog import names  # noqa: PLC0415 - for completion only

    return [name for name in (*BACKENDS, "gpu", *names()) if name.startswith(incomplete)]


def backends(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a backend."""
    return [name for name in BACKENDS if name.startswith(incomplete)]


def rules(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a rule."""
    from qdoctor.rules import RULES  # noqa: PLC0415 - for completion only

    return [rule.name for rule in RULES if rule.name.startswith(incomplete)]


def something(_: click.Context, option: click.Parameter, given: Any) -> Any:  # noqa: ANN401
    """Refuse an empty value: what is left out means the default, an empty variable does not."""
    values = given if isinstance(given, tuple) else () if given is None else (given,)
    if not all(value.strip() for value in values):
        raise BadInput(f"{option.opts[0]} names nothing: is a variable empty that it is made of?")
    return given


def probe(default: str) -> Callable[[Command], Command]:
    """How many probes to run; each command has its own default."""
    return click.option(
        "--probe",
        type=click.Choice(["none", "quick", "full"]),
        default=default,
        show_default=True,
        help="How many kernels to run; --facts implies none.",
    )


class _Seconds(click.FloatRange):
    """A time above 0: no comparison refuses NaN, and what is endless is no bound."""

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True)

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        seconds = float(super().convert(value, param, ctx))
        if not math.isfinite(seconds):
            self.fail(f"{value} is no finite number of seconds.", param, ctx)
        return seconds


budget = click.option(
    "--budget",
    type=_Seconds(),
    metavar="SECONDS",
    help="For all probes together; what is not done by then is left out, and named.",
)


def _stacked(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """One decorator out of several options, shown by ``--help`` in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


target = _stacked(
    click.option(
        "--python",
        metavar="PATH",
        callback=something,
        help="Interpreter or environment to examine.",
    ),
    click.option(
        "--facts", "facts_file", metavar="FILE", help="Examine a described machine; - = stdin."
    ),
    click.option(
        "--gpu",
        metavar="NAME|sm_XX",
        callback=something,
        help="Judge for this GPU, whatever is here.",
    ),
    click.option(
        "--driver", metavar="VERSION", callback=something, help="Judge for this driver version."
    ),
)
planning = _stacked(
    click.option("--bare", is_flag=True, help="Judge as if no package were installed yet."),
    click.option(
        "--python-version",
        metavar="3.X",
        callback=something,
        help="Judge for this Python, in a new environment.",
    ),
    click.option(
        "--platform",
        metavar="NAME",
        callback=something,
        help="Judge for this platform: linux_x86_64, win_amd64, macos_arm64, linux_aarch64, or a "
        "wheel's tag such as manylinux_2_28_x86_64.",
    ),
)
judging = _stacked(
    click.option(
        "--need",
        multiple=True,
        metavar="BACKEND|gpu|PROBE",
        callback=something,
        shell_complete=needs,
        help="What must work here, else it is an error; repeatable.",
    ),
    click.option(
        "--ignore",
        multiple=True,
        metavar="RULE",
        callback=something,
        shell_complete=rules,
        help="Leave this rule out; repeatable.",
    ),
)
choosing = _stacked(
    click.option(
        "--objective",
        type=click.Choice(["balanced", "latency", "memory", "accuracy"]),
        default="balanced",
        show_default=True,
        help="latency: least time, never slower than half; memory: fewest bytes a weight; "
        "balanced: least time x memory; accuracy: least error of what is not slower than half.",
    ),
    click.option(
        "--max-error",
        type=float,
        metavar="BOUND",
        help="Relative error that is borne; default: 0.02 for accuracy, 0.05 for balanced and "
        "latency, 0.15 for memory.",
    ),
    click.option(
        "--max-slowdown",
        type=float,
        metavar="TIMES",
        help="Take nothing that takes longer than so many times half; default: 1 for latency and "
        "accuracy; for memory 4, unless nothing else saves memory.",
    ),
    click.option(
        "--shapes",
        multiple=True,
        metavar="MxKxN...",
        help="Rows x in_features x out_features to measure, such as 4096x1024x4096; several may "
        "follow. Default: a stated set, prefill and decode.",
    ),
    click.option("--training", is_flag=True, help="Time forward and backward; weights must train."),
    click.option(
        "--allow",
        multiple=True,
        metavar="BACKEND",
        shell_complete=backends,
        help="Consider only this one, beside half; repeatable.",
    ),
    click.option(
        "--deny",
        multiple=True,
        metavar="BACKEND",
        shell_complete=backends,
        help="Leave this one out; repeatable.",
    ),
    click.option(
        "--require",
        metavar="BACKEND",
        callback=something,
        shell_complete=backends,
        help="Take this one; exit 1 with the fix where it does not work here.",
    ),
    click.option(
        "--device",
        metavar="cuda:N|cpu",
        callback=something,
        help="Default: the first GPU, else the CPU.",
    ),
    click.option(
        "--measure",
        type=click.Choice(["auto", "cached", "never"]),
        default="auto",
        show_default=True,
        help="cached: only what was measured earlier; never: the probes' pass or fail and the "
        "matrix alone.",
    ),
    click.option("--refresh", is_flag=True, help="Measure anew, whatever is kept."),
    click.option(
        "--export",
        metavar="FILE",
        help="Also write the selection there, for hosts that may not measure: QDOCTOR_SELECTION.",
    ),
    click.option(
        "--budget",
        "seconds",
        type=_Seconds(),
        default=10.0,
        show_default=True,
        metavar="SECONDS",
        help="For measuring, once everything is imported; the probes come on top.",
    ),
)
output = _stacked(
    click.option(
        "--format",
        "format_",
        type=click.Choice(list(FORMATS)),
        default="text",
        show_default=True,
        help="For people or for programs.",
    ),
    click.option("--output", metavar="FILE", help="Write there instead of to stdout."),
    click.option(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        default="auto",
        show_default=True,
        help="auto: where it is a terminal; NO_COLOR and FORCE_COLOR are heeded.",
    ),
)
