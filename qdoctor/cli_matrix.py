"""The commands under ``qdoctor matrix``: options -> question -> text, and the exit code."""

# ruff: noqa: PLC0415 - each command loads what it needs: --version and completion stay fast
from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qdoctor import exit_code, options
from qdoctor.model import BadInput
from qdoctor.terminal import Progress, emit, in_colour, refuse_unwritable, say, width

if TYPE_CHECKING:
    from qdoctor.matrix import Matrix
    from qdoctor.report.paper import Paper

_SHOWN = ("format_", "output", "color")
_QUESTION = "ask: qdoctor matrix query PACKAGE[==VERSION] [has NAME]"
_with_evidence = click.option("--evidence", is_flag=True, help="Also say where each was read.")


_package = click.option(
    "--package", metavar="NAME", callback=options.something, help="Only this package's releases."
)
_only = click.option(
    "--only", metavar="PACKAGE==VERSION", callback=options.something, help="Only this release."
)


def _grid_names(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a grid."""
    from qdoctor.grids import NAMES

    return [name for name in NAMES if name.startswith(incomplete)]


@click.group()
def matrix() -> None:
    """Look at, ask, verify and rebuild the compatibility data.

    Exit codes: 0 answered (also 'no'), 1 evidence that does not hold, 2 usage or bad input, 3
    unknown or not read, 4 a bug in qdoctor.
    """


@matrix.command()
@click.argument("release", metavar="PACKAGE[==VERSION]")
@click.argument("words", nargs=-1, metavar="[has NAME]")
@_with_evidence
@options.output
def query(release: str, words: tuple[str, ...], **shown: Any) -> int:  # noqa: ANN401
    """Say what is known of a release, or whether it has a name (triton.language.libdevice).

    Without a version: the newest release that the data knows. JSON always has the evidence.
    """
    from qdoctor import release_question
    from qdoctor.report import release as views

    asked, data = release_question.read(release), _data()
    if words and (words[0] != "has" or len(words) != 2):  # noqa: PLR2004 - has, and the name
        raise BadInput(f"{' '.join(words)!r} is no question; {_QUESTION}")
    paper = _paper(**shown)
    if not words:
        found = release_question.find(data, asked)
        reason = (
            release_question.why_no_build(found, asked)
            if found
            else release_question.why_unknown(data, asked)
        )
        plain = release_question.plain(found, asked.package, asked.version)
        views.release(paper, plain, data.version, with_evidence=shown["evidence"])
        return _answered(plain, paper, reason, **shown)
    answer = release_question.has(data, asked, words[1])
    spans = () if asked.version else release_question.spans(data, asked.package, words[1])
    views.has(paper, answer, asked.package, words[1], spans, with_evidence=shown["evidence"])
    return _answered(
        {"answer": answer.answer, "evidence": answer.evidence}, paper, answer.reason, **shown
    )


@matrix.command()
@click.argument("grids", nargs=-1, metavar="[GRID]...", shell_complete=_grid_names)
@_with_evidence
@options.output
def show(grids: tuple[str, ...], **shown: Any) -> int:  # noqa: ANN401
    """Show grids: switchback, import, bitsandbytes, torch; all of them where none is named.

    switchback and import: bitsandbytes x triton; bitsandbytes: its CUDA libraries and their SMs;
    torch: the triton it requires, its CUDA builds and their SMs.
    """
    from qdoctor import grids as building
    from qdoctor.report import grid as views

    paper, data = _paper(**shown), _data()
    built = [
        building.build(name, data, evidence=shown["evidence"]) for name in grids or building.NAMES
    ]
    for grid in built:
        views.render(paper, grid, with_evidence=shown["evidence"])
    plain = [{"name": one.name, "title": one.title, "rows": list(one.rows)} for one in built]
    return _answered({"matrix_version": data.version, "grids": plain}, paper, "", **shown)


@matrix.command()
@_only
@_package
@click.option("--refresh", is_flag=True, help="Read again what is there already.")
@click.option(
    "--into",
    metavar="FOLDER",
    callback=options.something,
    help="Build a whole matrix there, for maintainers: matrix/ of a checkout.",
)
@options.output
def mine(into: str | None, **asked: Any) -> int:  # noqa: ANN401
    """Read released wheels, over the network, into your own data folder (QDOCTOR_DATA_DIR).

    Only releases that the shipped data lacks: own data adds to it and never replaces it.
    """
    from qdoctor import learning
    from qdoctor.report import mined as views

    folder = Path(into) if into else None
    shown = {name: asked.pop(name) for name in _SHOWN}
    order = learning.Order(folder=folder, **asked)
    with Progress(sys.stderr) as progress:
        done = learning.learn(order, os.environ, progress)
    paper = _paper(**shown)
    views.mined(paper, done)
    return _answered(done, paper, learning.what_is_missing(done), **shown)


@matrix.command()
@click.option(
    "--sample",
    type=click.IntRange(1, 10_000),
    default=20,
    show_default=True,
    help="How many statements to read again.",
)
@click.option("--seed", type=int, help="Draw the same sample as a run that named this seed.")
@_only
@_package
@_with_evidence
@options.output
def verify(**asked: Any) -> int:  # noqa: ANN401
    """Read a random sample of the evidence again, over the network: does it still hold?

    Only the named places are read, in the released wheels. Also says how old the data is.
    """
    from qdoctor import freshness, verifying
    from qdoctor.report import mined as views

    shown = {name: asked.pop(name) for name in (*_SHOWN, "evidence")}
    paper, order = _paper(**shown), verifying.Order(**asked)
    with Progress(sys.stderr) as progress:
        done = verifying.look_again(order, _data(), freshness.today(), progress)
    views.verified(paper, done, with_evidence=shown["evidence"])
    if done["old"]:
        say(done["old"])
    if done["changed"]:
        why, code = f"{done['changed']} statements do not hold", exit_code.FINDINGS
    else:
        why = f"{done['unread']} could not be read" if done["unread"] else ""
        code = exit_code.COULD_NOT_TELL
    return _answered(done, paper, why, code=code, **shown)


def _data() -> Matrix:
    from qdoctor import local_data

    return local_data.current(os.environ)


def _paper(color: str, output: str | None, **_: Any) -> Paper:  # noqa: ANN401
    from qdoctor.report.paper import Paper

    if output is not None:
        refuse_unwritable(output)
    coloured = in_colour(color, sys.stdout, os.environ, to_file=output is not None)
    return Paper(color=coloured, width=width(sys.stdout))


def _answered(  # noqa: PLR0913 - an answer, its two forms and how it ends
    plain: dict[str, Any],
    paper: Paper,
    reason: str,
    *,
    format_: str,
    output: str | None,
    code: int = exit_code.COULD_NOT_TELL,
    **_: Any,  # noqa: ANN401
) -> int:
    """Write the answer in the wanted format; with a ``reason`` it ends with ``code``, else 0."""
    from qdoctor.report import json_

    emit(json_.of_plain(plain) if format_ == "json" else paper.written(), output)
    if reason:
        say(reason)
    return code if reason else exit_code.NOTHING_FOUND
