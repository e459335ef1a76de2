"""The command line: arguments -> doctor -> exit code. The only module that prints."""

# ruff: noqa: PLC0415 - each command loads what it needs: --version and completion stay fast
from __future__ import annotations

import contextlib
import errno
import gc
import io
import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

import qdoctor
from qdoctor import cli_matrix, exit_code, options, signals
from qdoctor.model import BadInput
from qdoctor.terminal import (
    Progress,
    complain,
    emit,
    in_colour,
    refuse_unwritable,
    say,
    width,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.doctor import Examination
    from qdoctor.model import Report
    from qdoctor.question import Question

_RULE_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")
_COMPLETION = (
    'Completion in bash: eval "$(_QDOCTOR_COMPLETE=bash_source qdoctor)" (zsh_source, fish_source '
    "likewise)."
)
_COMPLETING = "_QDOCTOR_COMPLETE"
_CHOOSING = (
    *("objective", "max_error", "max_slowdown", "training", "allow", "deny", "require", "device"),
    *("measure", "seconds", "refresh"),
)
_ISSUES = "report it with the output of `qdoctor facts`; QDOCTOR_DEBUG=1 shows the traceback"


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:  # noqa: FBT001
    if wanted and not context.resilient_parsing:
        from qdoctor import matrix

        click.echo(f"qdoctor {qdoctor.__version__} (matrix {matrix.shipped().version})")
        context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=_COMPLETION)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version)
def cli() -> None:
    """Find out which quantization backend works on this machine, and what is wrong.

    Exit codes: 0 nothing found, 1 findings, 2 usage or bad input, 3 could not tell (also when
    interrupted), 4 a bug in qdoctor.
    """


@cli.command()
@click.argument("specs", nargs=-1, metavar="[SPEC]...")
@click.option(
    "-r",
    "--requirement",
    "requirements",
    multiple=True,
    metavar="FILE",
    help="Planned packages, one a line.",
)
@options.target
@options.planning
@options.probe("full")
@options.budget
@options.judging
@options.output
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "never"]),
    default="error",
    show_default=True,
)
def check(format_: str, output: str | None, color: str, **asked: Any) -> int:  # noqa: ANN401
    """Examine a machine: facts, probes, findings, and a verdict for every backend.

    SPECs such as bitsandbytes==0.42.0 are planned changes, laid over what is installed.
    """
    question = _question(**asked)
    done = _examined(question, output, format_)
    _show(done.report, format_, output, color, view="check")
    _say_why(done)
    return done.report.exit_code


@cli.command()
@click.argument("more_shapes", nargs=-1, metavar="")
@options.target
@options.choosing
@options.probe("full")
@options.judging
@options.output
def select(  # noqa: PLR0913, PLR0917 - click gives the options by name
    format_: str,
    output: str | None,
    color: str,
    shapes: tuple[str, ...],
    more_shapes: tuple[str, ...],
    export: str | None,
    **asked: Any,  # noqa: ANN401
) -> int:
    """Measure the backends that work here, name the one to use, and why each other one loses.

    Where QDOCTOR_SELECTION names a decision, that one is shown, as Python takes it; --refresh and
    --export make another.

    Exit codes: 0 answered, 1 what is demanded (--require, or anything after --deny half) cannot be
    had, 2 usage or bad input, 3 could not tell.
    """
    from qdoctor.choosing import select_command

    chosen = {name: asked.pop(name) for name in _CHOOSING}
    command = select_command.command(
        _question(**asked), shapes=(*shapes, *more_shapes), export=export is not None, **chosen
    )
    if output is not None and export is not None and _is_one_file(output, export):
        raise BadInput("--output and --export name one file: the report would be lost")
    for option, path in (("--output", output), ("--export", export)):
        if path is not None:
            refuse_unwritable(path, option)
    with _warnings_said(), Progress(sys.stderr) as progress:
        report = select_command.answered(command, _stdin(), progress)
    if export is not None:
        from qdoctor.choosing.exported import export as write

        write(select_command.carried(report), export)
    _show(report, format_, output, color, view="select")
    return report.exit_code


@cli.command()
@click.argument("question", metavar='RULE|"ERROR TEXT"|-', shell_complete=options.rules)
@options.target
@options.probe("none")
@options.budget
@options.judging
@options.output
def explain(
    question: str,
    format_: str,
    output: str | None,
    color: str,
    **asked: Any,  # noqa: ANN401
) -> int:
    """Explain a rule, or which cause an error text or a whole log (-) has on this machine.

    Exit codes: 0 explained, 2 usage or bad input, 3 no cause known, or several and none decided.
    """
    from qdoctor import log

    if _RULE_NAME.fullmatch(question):
        emit(_documentation(question, format_), output)
        return exit_code.NOTHING_FOUND
    if question == "-" and asked["facts_file"] == "-":
        raise BadInput("the log and the facts cannot both come from standard input")
    text = log.piped(_stdin()) if question == "-" else question
    if question != "-" and log.names_file(question):
        raise BadInput(f"{question} is a file: qdoctor explain - < {shlex.quote(question)}")
    if not text.strip():
        raise BadInput("the error text is empty: pipe the program's output, 2>&1 included")
    report = _examined(_question(**asked, error=text), output, format_).report
    causes = [finding for finding in report.findings if finding.explains_error]
    decided = bool(causes) and causes[0].undecided is None
    report = _ending(report, could_tell=decided)
    _show(report, format_, output, color, view="explain")
    return report.exit_code


@cli.command()
@options.target
@click.option("--output", metavar="FILE", help="Write there instead of to stdout.")
def facts(output: str | None, **asked: Any) -> int:  # noqa: ANN401
    """Print the facts as JSON, without personal data: what to paste into a bug report."""
    from qdoctor import doctor
    from qdoctor.question import check_names
    from qdoctor.report import json_, redaction

    if output is not None:
        refuse_unwritable(output)
    question = _question(**asked)
    check_names(question, (), tuple)
    patient = doctor.look(question, environ=os.environ, stdin=_stdin())
    emit(json_.write(redaction.redact(patient.facts)), output)
    return exit_code.NOTHING_FOUND


@cli.group()
def cache() -> None:
    """Show or delete the cache, the one folder that qdoctor writes to unasked."""


@cache.command("path")
def cache_path() -> int:
    """Print where the cache lies."""
    from qdoctor import cache as folder

    emit(f"{folder.folder(os.environ)}\n", None)
    return exit_code.NOTHING_FOUND


@cache.command("clear")
def cache_clear() -> int:
    """Delete the cache."""
    from qdoctor import cache as folder

    gone = folder.clear(os.environ)
    say(f"deleted {gone}" if gone else "there is no cache to delete")
    return exit_code.NOTHING_FOUND


cli.add_command(cli_matrix.matrix)


def _question(**asked: Any) -> Question:  # noqa: ANN401 - click's options, by name
    from qdoctor.question import Question
    from qdoctor.settings import project_needs

    try:
        here = Path.cwd()
    except OSError as error:
        raise BadInput(
            f"the current folder cannot be found: {error.strerror}; change to one that is there"
        ) from error
    if "need" in asked:
        asked["need"] = (*project_needs(here), *asked["need"])
    return Question(**{name: value for name, value in asked.items() if value is not None})


def _examined(question: Question, output: str | None, format_: str) -> Examination:
    from qdoctor import doctor
    from qdoctor.beside import importing
    from qdoctor.report import FORMATS

    if output is not None:
        refuse_unwritable(output)
    with Progress(sys.stderr) as progress, importing(FORMATS[format_]):
        return doctor.examine_fully(question, stdin=_stdin(), progress=progress, partial=True)


def _say_why(done: Examination) -> None:
    """Say what keeps the exit code from being 0 where no finding says it."""
    for need in done.needs:
        if need.met == "no":
            say(f"need {need.name}: not met: {need.reason}")
    for doubt in exit_code.could_not_tell(done.report.observations, done.needs):
        say(f"could not tell: {doubt}")


def _ending(report: Report, *, could_tell: bool) -> Report:
    """The same report with the exit code of a question rather than of a check."""
    import msgspec

    if report.exit_code == exit_code.OUR_BUG:
        return report
    code = exit_code.NOTHING_FOUND if could_tell else exit_code.COULD_NOT_TELL
    return msgspec.structs.replace(report, exit_code=code)


def _documentation(rule: str, format_: str) -> str:
    import json

    from qdoctor import doctor

    text = doctor.documentation(rule)
    if format_ == "json":
        return json.dumps({"rule": rule, "documentation": text}, indent=2) + "\n"
    return f"{rule}\n\n{text.strip()}\n"


def _show(report: Report, format_: str, output: str | None, color: str, *, view: str) -> None:
    from qdoctor.report import render

    coloured = in_colour(color, sys.stdout, os.environ, to_file=output is not None)
    emit(render(report, format_, color=coloured, width=width(sys.stdout), view=view), output)


def _is_one_file(one: str, other: str) -> bool:
    return Path(one).resolve() == Path(other).resolve()


@contextlib.contextmanager
def _warnings_said() -> Iterator[None]:
    """Say at the end what ``select_backend`` would warn of: as lines, not as places in the code."""
    import warnings

    from qdoctor.choosing.notice import SelectionWarning

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", SelectionWarning)
        try:
            yield
        finally:
            for each in warned:
                say(f"warning: {each.message}")


def _stdin() -> Any:  # noqa: ANN401 - IO[bytes], or None where there is no standard input
    return getattr(sys.stdin, "buffer", None)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with the code of the contract."""
    gc.disable()  # this process ends within seconds: nothing it drops is worth looking for
    signals.as_interrupts()
    signals.tell_of_children()
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; no exception leaves it."""
    try:
        return int(cli.main(arguments, prog_name="qdoctor", standalone_mode=False) or 0)
    except (SystemExit, KeyboardInterrupt, Exception) as error:  # noqa: BLE001 - all end here
        return _ended_by(error)


def _ended_by(error: BaseException) -> int:
    """Say what ended a command and return its exit code: what is not expected is a bug of ours."""
    if isinstance(error, SystemExit):  # click's: it completed, or the reader of its help went away
        asked = os.environ.get(_COMPLETING) if error.code else None
        if asked is None:
            return exit_code.NOTHING_FOUND
        say(f"{_COMPLETING}={asked} is no completion. {_COMPLETION}")
        return exit_code.BAD_INPUT
    if isinstance(error, click.Abort | KeyboardInterrupt):
        say("interrupted, so nothing can be told")
        return exit_code.COULD_NOT_TELL
    if isinstance(error, click.ClickException):
        _show_usage(error)
    elif isinstance(error, BadInput):
        say(str(error))
    elif isinstance(error, OSError) and error.errno == errno.ENOSPC:
        say(f"the output cannot be written: {error.strerror}")
    else:
        return _our_bug(error)
    return exit_code.BAD_INPUT


def _show_usage(error: click.ClickException) -> None:
    from qdoctor.report.visible import visible_lines

    text = io.StringIO()
    error.show(text)
    complain(visible_lines(text.getvalue()))


def _our_bug(error: BaseException) -> int:
    if os.environ.get("QDOCTOR_DEBUG"):
        import traceback

        complain("".join(traceback.format_exception(error)))
    from qdoctor.report.redaction import identity_here, redact_text

    what = redact_text(f"{type(error).__name__}: {error}", identity_here())
    say(f"this is a bug in qdoctor, not on your machine ({what}); {_ISSUES}")
    return exit_code.OUR_BUG
