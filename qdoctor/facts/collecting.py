"""Collects all facts about one target: the interpreter and the driver are asked side by side."""

from __future__ import annotations

import platform
from threading import Thread
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from qdoctor.facts.elsewhere import read_macos, read_windows
from qdoctor.facts.hardware import read_linux
from qdoctor.facts.hiding import hidden_library
from qdoctor.facts.host import read_host, relevant
from qdoctor.facts.interpreter import NoAnswer, Reading, ask
from qdoctor.facts.managing import managed_by
from qdoctor.facts.native import read_native
from qdoctor.facts.target import NAMED
from qdoctor.facts.toolkit import read_toolkit
from qdoctor.facts.triton_uses import read_triton_uses
from qdoctor.model import NO_FOLDER, Facts, FoundPackage, NoInterpreter, Python, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qdoctor.facts.interpreter import PythonPlaces
    from qdoctor.facts.nvidia import Hardware

_T = TypeVar("_T")


def collect(target: Target, environ: Mapping[str, str]) -> Facts:
    """Read everything about ``target`` as it would run with ``environ``.

    Raises ``NoInterpreter`` where one that was named does not answer; one found by default
    leaves its facts unknown, with the reason in ``Facts.unread["python"]``, or ``[NO_FOLDER]``
    where it could not be asked.
    """
    hardware = _Beside(lambda: read_hardware(environ))
    try:
        answer = _answer(target, environ)
        facts = _of_python(target, answer, environ)
    finally:
        hardware.join()  # also on Ctrl-C: it has a child of its own, which would outlive us
    machine = hardware.result()
    toolkit, why_not = read_toolkit(environ)
    unread = {
        **(facts.unread or {}),
        **({"toolkit_cuda": why_not} if why_not else {}),
        **machine.unread,
    }
    return msgspec.structs.replace(
        facts,
        toolkit_cuda=toolkit,
        driver=machine.driver,
        gpus=machine.gpus,
        env=relevant(environ),
        unread=unread or None,
    )


def _of_python(target: Target, answer: Reading | NoAnswer, environ: Mapping[str, str]) -> Facts:
    """Take the facts that the interpreter tells, all unknown where it did not answer."""
    if isinstance(answer, NoAnswer):
        return Facts(
            schema="qdoctor/facts/1",
            host=read_host(environ),
            python=Python(version=answer.version, executable=target.python),
            unread={NO_FOLDER if answer.for_want_of_room else "python": answer.reason},
        )
    native = read_native(answer, environ)
    triton_names, unparsed = read_triton_uses(answer.distributions, environ)
    unread = {**answer.unread, **native.unread, **unparsed}
    return Facts(
        schema="qdoctor/facts/1",
        host=msgspec.structs.replace(
            read_host(environ, libc=answer.libc, c_compiler=answer.c_compiler),
            glibcxx=native.glibcxx,
        ),
        python=_python(answer.python, environ),
        packages=answer.packages,
        packages_found=[
            *(FoundPackage(copy.name, copy.version, copy.file) for copy in answer.packages_found),
            *hidden_library(answer.path, answer.python.version),
        ],
        requires=answer.requires,
        torch_cuda=answer.torch_cuda,
        torch_arch_list=answer.torch_arch_list,
        native=native.libraries or (None if "native" in unread else []),
        unread=unread,
        triton_names=triton_names,
    )


def _python(told: PythonPlaces, environ: Mapping[str, str]) -> Python:
    managed = managed_by(told, environ)
    return Python(
        told.version,
        told.executable,
        told.prefix,
        told.base_prefix,
        told.headers,
        managed.manager,
        managed.project,
        told.externally_managed,
    )


def _answer(target: Target, environ: Mapping[str, str]) -> Reading | NoAnswer:
    answer = ask(target.python or "", environ)
    refused = isinstance(answer, NoAnswer) and not answer.for_want_of_room
    if isinstance(answer, NoAnswer) and refused and target.chosen_by == NAMED:
        raise NoInterpreter(target.python or "", answer.reason)
    return answer


def read_hardware(environ: Mapping[str, str]) -> Hardware:
    """Read driver and GPUs, by the means of this operating system."""
    system = platform.system()
    if system == "Windows":
        return read_windows(environ)
    return read_macos() if system == "Darwin" else read_linux(environ)


class _Beside(Thread, Generic[_T]):
    """One call made beside ours; ``result`` waits for it and raises what it raised.

    Where no thread can be had (ulimit -u), it is made at once.
    """

    def __init__(self, call: Callable[[], _T]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self._value: list[_T] = []
        self._error: BaseException | None = None
        try:
            self.start()
        except RuntimeError:
            self.run()

    def run(self) -> None:
        try:
            self._value.append(self._call())
        except BaseException as error:  # noqa: BLE001 - raised again by result()
            self._error = error

    def join(self, timeout: float | None = None) -> None:
        if self.ident is not None:
            super().join(timeout)

    def result(self) -> _T:
        self.join()
        if self._error is not None:
            raise self._error
        return self._value[0]
