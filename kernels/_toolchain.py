"""What an installed Triton builds with, asked of its own functions and told apart by what it has.

``Builder`` lets Triton's own ``_build`` write the compiler's command line without running it; other
functions say which libcuda, ptxas and cache folder it takes. Nothing here compiles. Python 3.8
syntax, standard library only at import; triton when called.
"""

# ruff: noqa: ANN401 - what triton's releases hold has no common types

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional

_BUILDERS = ("triton.runtime.build", "triton.common.build", "triton.compiler")
"""Modules that have had ``_build``, the newest first."""
_PTXAS = ("triton.backends.nvidia.compiler", "triton.common.backend", "triton.compiler")
_CACHES = ("triton.runtime.cache", "triton.compiler")


class Unknown(AttributeError):  # noqa: N818 - it names a state of the release
    """This triton does it in a way that is not known here."""


class Tool(NamedTuple):
    """A program, and the release that Triton read from it; ``""`` where it asks later."""

    path: str
    release: str


def c_command(source: str, folder: str) -> List[str]:
    """Give the command by which Triton compiles a C extension into ``folder``, without libcuda.

    Raises what Triton raises where it finds no compiler, and Unknown.
    """
    module = _having("_build", _BUILDERS)
    command = _recorded(module, source, folder, {}, libcuda_dirs=list)
    return [word for word in command if word != "-lcuda"]


def launcher_command(source: str, folder: str) -> List[str]:
    """Give the command by which Triton builds a launcher, linked against libcuda.

    Raises what Triton raises where it finds no libcuda, and Unknown.
    """
    module = _having("_build", _BUILDERS)
    if "libraries" not in inspect.signature(module._build).parameters:  # noqa: SLF001 - examined
        return _recorded(module, source, folder, {})
    driver = importlib.import_module("triton.backends.nvidia.driver")
    places = {
        "library_dirs": list(driver.library_dirs()),
        "libraries": list(driver.libraries),
        "include_dirs": list(getattr(driver, "include_dirs", None) or driver.include_dir),
    }
    return _recorded(module, source, folder, places)


def ptxas(sm: Optional[str]) -> Tool:
    """Name the ptxas that Triton runs, for ``sm`` ("9.0") where it has one for each generation.

    Raises what Triton raises where it finds none, and Unknown.
    """
    for name in _PTXAS:
        module = _imported(name)
        for function in ("get_ptxas", "path_to_ptxas", "_path_to_binary"):
            ask = getattr(module, function, None)
            if ask is not None:
                return _tool(ask, sm)
    raise Unknown("no function of this triton names its ptxas")


def cache_folder(environ: Dict[str, Optional[str]]) -> str:
    """Name the folder of compiled kernels under an environment in which ``environ`` holds."""
    with _environment(environ):
        knobs = _imported("triton.knobs")
        if knobs is not None:
            return str(knobs.cache.dir)
        named = (os.environ.get("TRITON_CACHE_DIR") or "").strip()
        return named or str(_having("default_cache_dir", _CACHES).default_cache_dir())


def _tool(ask: Any, sm: Optional[str]) -> Tool:
    # Which generations share a ptxas is Triton's to say: any SM of the older ones names the first.
    arch = int((sm or "8.0").replace(".", ""))
    known = {"arch": arch, "binary": "ptxas"}
    names = inspect.signature(getattr(ask, "__wrapped__", ask)).parameters
    answer = ask(**{name: known[name] for name in names})
    path, release = (answer.path, answer.version) if hasattr(answer, "path") else answer
    return Tool(str(path), str(release))


class _Recorder:
    """Stands in for the module subprocess: keeps the command of a compiler instead of running it.

    What Triton asks of other programs meanwhile (ldconfig, whereis) it is answered.
    """

    def __init__(self, real: Any) -> None:
        self._real = real
        self.commands: List[List[str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def check_call(self, command: List[str], **_options: Any) -> int:
        self.commands.append(list(command))
        return 0


def _recorded(
    module: Any, source: str, folder: str, places: Dict[str, List[str]], **stand_ins: Any
) -> List[str]:
    """Call ``_build`` with what its release asks for, and give the command it would run."""
    known: Dict[str, Any] = {"name": Path(source).stem, "src": source, "srcdir": folder}
    for name in ("library_dirs", "include_dirs", "libraries", "ccflags"):
        known[name] = places.get(name, [])
    wanted = inspect.signature(module._build).parameters  # noqa: SLF001 - examined
    recorder = _Recorder(module.subprocess)
    # Releases that also serve AMD ask torch, which need not be here: CUDA is what is examined.
    with _replaced(module, subprocess=recorder, is_hip=lambda: False, **stand_ins):
        module._build(**{name: known[name] for name in wanted if name in known})  # noqa: SLF001
    if not recorder.commands:
        raise Unknown("this triton builds extensions without a command")
    return recorder.commands[-1]


@contextlib.contextmanager
def _replaced(module: Any, **stand_ins: Any) -> Iterator[None]:
    """Put stand-ins for those names that the module has, for the time being."""
    there = {name: getattr(module, name) for name in stand_ins if hasattr(module, name)}
    try:
        for name in there:
            setattr(module, name, stand_ins[name])
        yield
    finally:
        for name, value in there.items():
            setattr(module, name, value)


@contextlib.contextmanager
def _environment(wanted: Dict[str, Optional[str]]) -> Iterator[None]:
    before = dict(os.environ)
    try:
        for name, value in wanted.items():
            os.environ.pop(name, None)
            os.environ.update({} if value is None else {name: value})
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _having(function: str, modules: Any) -> Any:
    for name in modules:
        module = _imported(name)
        if hasattr(module, function):
            return module
    text = "none of {} has {}".format(", ".join(modules), function)
    raise Unknown(text)


def _imported(name: str) -> Any:
    """Import a module of triton's, or None where this release has none of that name."""
    importlib.import_module("triton")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and name.startswith(error.name):
            return None
        raise
