"""A decision carried to other hosts in a file.

``Backend.export`` and ``qdoctor select --export`` write one; the variable ``QDOCTOR_SELECTION``
names one, which is asked before the cache.

A carried decision is an order, so it is never bent: a file that cannot be read, or that was made
for another kind of GPU or other versions of torch, triton, bitsandbytes, torchao or qdoctor, is an
error. Another driver or Python is said in a warning. A question other than the one that the file
answers is answered without it, and that is said, too. Nothing of a file is run: it can only name a
backend that qdoctor has. It may belong to anybody, as it is named by whoever sets the variable.
"""

from __future__ import annotations

import os
import stat
import tempfile
from typing import TYPE_CHECKING, Any

import msgspec

from qdoctor import matrix as matrices
from qdoctor.backends import NAMES
from qdoctor.choosing import key as keys
from qdoctor.choosing.answering import CARRIED, refuse_missing
from qdoctor.choosing.cache_reading import Kept
from qdoctor.choosing.devices import CPU
from qdoctor.choosing.explained import printable
from qdoctor.choosing.installed import stamp
from qdoctor.choosing.notice import say_once
from qdoctor.model import BadInput, Selection, from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdoctor.choosing.request import Request

VARIABLE = CARRIED
_LARGEST = 1 << 20  # bytes
_REPORT = b'"qdoctor/report/'
"""What stands in a report, which ``--format json --output`` writes."""
_MEND = (
    f"write one on such a machine with `qdoctor select --export FILE`, or unset {VARIABLE} to have "
    "it decided here"
)
_REFUSED = ("device", "qdoctor")
_NOTED = ("driver", "python")
_latest: dict[tuple[str, str], tuple[Selection, Kept]] = {}


def export(selection: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a decision to a file, whole or not at all. Raises ``BadInput`` where that fails.

    The machine's own paths and stamps are left out: they mean nothing elsewhere. A link is
    followed; a device or a pipe is written to and stays what it is.
    """
    key = {name: value for name, value in selection["key"].items() if name != "lines"}
    if not key:
        raise BadInput(
            "a backend that several kinds of device agreed on is not carried: export one on each "
            "kind, selected without a group"
        )
    text = f"{to_json(msgspec.convert({**selection, 'key': key}, Selection))}\n"
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        else:
            _replace(os.path.realpath(path), text)
    except OSError as error:
        raise BadInput(f"{path}: the selection cannot be written: {error.strerror}") from error


def _replace(target: str, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=os.path.dirname(target), prefix=".qdoctor-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(name, 0o644)
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise


def carried(request: Request, environ: Mapping[str, str]) -> Kept | None:
    """Return the carried decision; None where it answers another question, which is said.

    Raises ``BadInput``, naming the variable, for a file that is missing, broken or made for another
    kind of machine; and for a GPU that is not there.
    """
    path = environ[VARIABLE]
    selection, kept = _read(path)
    other = _other_question(request, selection)
    if other:
        say_once(
            f"{VARIABLE} ({path}) answers another question ({other}): this one is answered "
            "without it"
        )
        return None
    key = keys.key_of(request.text, request.device, environ)
    refuse_missing(request, key)
    _compare(path, selection, key.portable)
    return kept


def _read(path: str) -> tuple[Selection, Kept]:
    at = (path, stamp(path))
    known = _latest.get(at)
    if known is None:
        selection = _checked(path, _decoded(path))
        known = selection, Kept(selection.selected, msgspec.json.encode(selection))
        _latest.clear()
        _latest[at] = known
    return known  # and not what lies there: another thread may be as far


def _decoded(path: str) -> Selection:
    data = contents(path)
    try:
        return from_json(data, Selection, f"{VARIABLE} ({path})")
    except BadInput as error:
        if _REPORT in data:
            what = "a whole report, not a selection that is carried"
            raise BadInput(f"{VARIABLE} ({path}): {what}; {_MEND}") from error
        raise BadInput(f"{error}; {_MEND}") from error


def contents(path: str) -> bytes:
    """Return the bytes of a file that is carried; a pipe, which may never end, is none.

    Raises ``BadInput``, naming the variable, where there is no such file.
    """
    try:
        handle = os.open(
            path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        )
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise BadInput(f"{VARIABLE} ({path}): no regular file; {_MEND}")
            data = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise BadInput(f"{VARIABLE} ({path}): cannot be read: {why}; {_MEND}") from error
    if len(data) > _LARGEST:
        raise BadInput(f"{VARIABLE} ({path}): larger than a selection can be; {_MEND}")
    return data


def _checked(path: str, selection: Selection) -> Selection:
    """Refuse what has the shape of a selection and makes no sense."""
    names = [one.backend for one in selection.candidates]
    wrong = (
        (selection.selected not in {None, *NAMES} and f"no backend is called {selection.selected}")
        or (selection.selected not in {None, *names} and f"{selection.selected} is no candidate")
        or (len(set(names)) < len(names) and "a candidate is there twice")
        or _unusable(selection)
        or _broken_key(selection)
    )
    if wrong:
        raise BadInput(printable(f"{VARIABLE} ({path}): {wrong}; {_MEND}"))
    return selection


def _unusable(selection: Selection) -> str:
    for one in selection.candidates:
        if one.backend == selection.selected and one.usable == "no":
            return f"{one.backend} cannot be used by its own words: {one.reason}"
    return ""


def _broken_key(selection: Selection) -> str:
    key = selection.key
    packages = key.get("packages")
    texts = [key.get(name) for name in (*_REFUSED, *_NOTED)]
    texts += (
        [packages.get(name) for name in keys.COMPARED] if isinstance(packages, dict) else [None]
    )
    if not all(isinstance(text, str) for text in texts):
        return "it does not say which machine it is for (its `key` is not whole)"
    named, device = selection.device.name, str(key["device"])
    of_gpu = selection.device.sm is not None
    if of_gpu and named != device:
        return f"it contradicts itself: decided for {named}, carried for {device}"
    known = _known_sm(device) if of_gpu else None
    if known not in {None, selection.device.sm}:
        return f"it contradicts itself: {device} has SM {known}, not {selection.device.sm}"
    return ""


def _known_sm(name: str) -> str | None:
    try:
        models = matrices.shipped().parse_gpu(name)
    except BadInput:
        return None
    return models[0].sm if len({model.sm for model in models}) == 1 else None


def _other_question(request: Request, selection: Selection) -> str:
    """Say in what the question differs from the one that the file answers; ``""`` in nothing."""
    asked, chosen = selection.asked, selection.selected
    shapes = None if asked.shapes is None else [tuple(shape) for shape in asked.shapes]
    for name, wanted, answered in (
        ("objective", request.objective, asked.objective),
        ("max_error", request.max_error, asked.max_error),
        ("max_slowdown", request.max_slowdown, asked.max_slowdown),
        ("training", request.training, asked.training),
    ):
        if wanted != answered:
            return f"{name} {answered}, not {wanted}"
    if request.shapes is not None and request.shapes != shapes:
        return "other shapes"
    if None not in {request.device, asked.device} and (
        (request.device == CPU) != (asked.device == CPU)
    ):
        return f"device {asked.device}, not {CPU if request.device == CPU else 'a GPU'}"
    if chosen in (request.deny or ()):
        return f"{chosen}, which is denied"
    if request.allow is not None and chosen not in {None, "half", *request.allow}:
        return f"{chosen}, which is not allowed"
    return ""


def _compare(path: str, selection: Selection, here: Mapping[str, Any]) -> None:
    """Raise ``BadInput`` where the file was made for another machine; warn where that may be."""
    key = selection.key
    differ = [(name, key[name], here[name]) for name in _REFUSED if key[name] != here[name]]
    differ += [
        (name, key["packages"][name], here["packages"][name])
        for name in keys.COMPARED
        if key["packages"][name] != here["packages"][name]
    ]
    if differ:
        told = "; ".join(
            f"{name}: {its or 'none'}, here {ours or 'none'}" for name, its, ours in differ
        )
        raise BadInput(printable(f"{VARIABLE} ({path}) is for another machine: {told}; {_MEND}"))
    for name in _NOTED:
        if key[name] != here[name]:
            said = f"{VARIABLE} ({path}) was decided with {name} {key[name]}, here is {here[name]}"
            say_once(printable(f"{said}; its figures may differ"))
