"""Collects all facts about one target: the interpreter and the driver are asked side by side."""

from __future__ import annotations

import platform
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Generic, TypeVar

from qdoctor.facts.elsewhere import read_macos, read_windows
from qdoctor.facts.hardware import read_linux
from qdoctor.facts.host import read_host, relevant
from qdoctor.facts.interpreter import NoAnswer, Reading, ask
from qdoctor.facts.native import PACKAGE, read_native
from qdoctor.facts.target import NAMED
from qdoctor.facts.toolkit import read_toolkit
from qdoctor.model import BadInput, Facts, FoundPackage, NativeLibrary, Python, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qdoctor.facts.nvidia import Hardware

_T = TypeVar("_T")


def collect(target: Target, environ: Mapping[str, str]) -> Facts:
    """Read everything about ``target`` as it would run with ``environ``.

    Raises ``BadInput`` where an interpreter that was named does not answer; one found by default
    leaves its facts unknown, with the reason in ``Facts.unread["python"]``.
    """
    hardware = _Beside(lambda: read_hardware(environ))
    try:
        answer = _answer(target, environ)
        reading = answer if isinstance(answer, Reading) else None
        native, unread_native = _native(reading)
        toolkit, no_toolkit = read_toolkit(environ)
    finally:
        hardware.join()  # also on Ctrl-C: it has a child of its own, which would outlive us
    machine = hardware.result()
    unread = {
        **({"python": answer.reason} if isinstance(answer, NoAnswer) else answer.unread),
        **({"toolkit_cuda": no_toolkit} if no_toolkit else {}),
        **machine.unread,
        **unread_native,
    }
    return Facts(
        schema="qdoctor/facts/1",
        host=read_host(
            environ,
            libc=reading.libc if reading else None,
            c_compiler=reading.c_compiler if reading else None,
        ),
        python=_python(target, answer),
        packages=reading.packages if reading else None,
        packages_found=_found(reading),
        requires=reading.requires if reading else None,
        torch_cuda=reading.torch_cuda if reading else None,
        torch_arch_list=reading.torch_arch_list if reading else None,
        toolkit_cuda=toolkit,
        driver=machine.driver,
        gpus=machine.gpus,
        env=relevant(environ),
        native=native,
        unread=unread or None,
    )


def _answer(target: Target, environ: Mapping[str, str]) -> Reading | NoAnswer:
    answer = ask(target.python or "", environ)
    if isinstance(answer, NoAnswer) and target.chosen_by == NAMED:
        raise BadInput(
            f"--python: {target.python} is no interpreter that can be examined: {answer.reason}; "
            "give one that starts, or leave the option out"
        )
    return answer


def read_hardware(environ: Mapping[str, str]) -> Hardware:
    """Read driver and GPUs, by the means of this operating system."""
    system = platform.system()
    if system == "Windows":
        return read_windows(environ)
    return read_macos() if system == "Darwin" else read_linux(environ)


def _python(target: Target, answer: Reading | NoAnswer) -> Python:
    if isinstance(answer, NoAnswer):
        return Python(version=answer.version, executable=target.python)
    told = answer.python
    return Python(told.version, told.executable, told.prefix, told.base_prefix, told.headers)


def _found(reading: Reading | None) -> list[FoundPackage] | None:
    if reading is None:
        return None
    return [FoundPackage(copy.name, copy.version, copy.file) for copy in reading.packages_found]


def _native(reading: Reading | None) -> tuple[list[NativeLibrary] | None, dict[str, str]]:
    if reading is None:
        return None, {}
    folder = reading.folders.get(PACKAGE)
    return read_native(Path(folder)) if folder else ([], {})


class _Beside(Thread, Generic[_T]):
    """One call made beside ours; ``result`` waits for it and raises what it raised."""

    def __init__(self, call: Callable[[], _T]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self._value: list[_T] = []
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._value.append(self._call())
        except BaseException as error:  # noqa: BLE001 - raised again by result()
            self._error = error

    def result(self) -> _T:
        self.join()
        if self._error is not None:
            raise self._error
        return self._value[0]
