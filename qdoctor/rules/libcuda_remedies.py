"""Where a program looks for the driver's libcuda, and so what makes it found there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from packaging.specifiers import SpecifierSet

from qdoctor.model import Driver, Fix, Host
from qdoctor.released import parsed
from qdoctor.rules.remedies import by_hand, unset

if TYPE_CHECKING:
    from qdoctor.rules.case import Case

_RULE = "libcuda-not-found"
_OF_LOADER = {"bnb-setup-no-driver", "libcuda-dlopen", "libcuda-unopened", "libcuda-not-loaded"}
"""Texts of programs that open the library by its name: the loader asks LD_LIBRARY_PATH first."""
_BY_BARE_NAME = "bnb-setup-no-driver"
_BARE_NAME = "libcuda.so"
"""What bitsandbytes before 0.43.1 opens."""
_OF_LINKER = {"libcuda-not-linked"}
_OF_TRITON = {"libcuda-assertion", "ldconfig-failed"}
"""Texts of triton, which asks ldconfig for the library and LD_LIBRARY_PATH late or never."""
_PATH = "LD_LIBRARY_PATH"
_FOR_LINKER = "LIBRARY_PATH"
_OF_WSL = "/usr/lib/wsl/lib"
"""Where Windows puts its driver's libraries into Linux (NVIDIA, CUDA on WSL User Guide)."""


def for_linker(case: Case) -> list[Fix]:
    """Offer what helps a linker where the loader finds the library."""
    driver = case.machine.facts.driver or Driver()
    folder = (driver.libcuda or "").rpartition("/")[0] or None
    link = Fix(
        action="symlink",
        name="libcuda.so",
        value=driver.libcuda or "libcuda.so.1",
        command=f"sudo ln -s libcuda.so.1 {folder}/libcuda.so" if folder else None,
        why="the linker looks for the name without a version, which the driver's package may lack",
        verify="triton_toolchain",
    )
    return [link, _ldconfig(None), *_for_triton(case, folder)]


def remedies(case: Case) -> list[Fix]:
    """Offer what helps the program that missed the library, as far as its text tells which."""
    driver, host = case.machine.facts.driver or Driver(), case.machine.facts.host or Host()
    if _is_stub(driver.libcuda):
        why = f"{driver.libcuda} is the toolkit's stub for linking and runs nothing"
        return [unset(_PATH, why, verify=_RULE)]
    folder = (driver.libcuda_elsewhere or "").rpartition("/")[0] or None
    if folder is None and host.container and driver.libcuda == "":
        why = (
            "the container was started without the driver's libraries: start it with `--gpus all` "
            "and NVIDIA_DRIVER_CAPABILITIES=compute,utility"
        )
        return [by_hand("run", why, verify=_RULE), _ldconfig(None)]
    if host.wsl:
        folder = folder or _OF_WSL
    texts = {one.signature for one in case.signals_of(_RULE)}
    if texts & _OF_LINKER:
        return [_ldconfig(folder), _set(_FOR_LINKER, folder), *_for_triton(case, folder)]
    if texts & _OF_TRITON:
        return [_ldconfig(folder), *_for_triton(case, folder)]
    fixes = [_ldconfig(folder), _set(_PATH, folder)]
    of_loader = host.wsl or texts & _OF_LOADER
    return [*(reversed(fixes) if of_loader else fixes), *_link(case)]


def _link(case: Case) -> list[Fix]:
    """Offer the name without a version, where a program opens that one."""
    bare = any(one.signature == _BY_BARE_NAME for one in case.signals_of(_RULE))
    if not bare and case.said(_RULE, "library") != _BARE_NAME:
        return []
    why = "where its folder holds libcuda.so.1 alone: the program opens the name without a version"
    return [Fix("symlink", why, name=_BARE_NAME, value="libcuda.so.1", verify=_RULE)]


def _for_triton(case: Case, folder: str | None) -> list[Fix]:
    """Offer triton's own variable, unless the release is known not to read it."""
    rows = case.matrix.table("libcuda_paths")["rows"]
    release = {row["package"]: parsed(case.machine.package(row["package"]).value) for row in rows}
    return [
        _set(row["name"], folder)
        for row in rows
        if (known := release[row["package"]]) is None
        or SpecifierSet(row["spec"]).contains(known, prereleases=True)
    ]


def in_folder(case: Case, fixes: list[Fix]) -> list[Fix]:
    """Give triton's variable its value where it is known in which folder libcuda lies."""
    driver = case.machine.facts.driver or Driver()
    folder = (driver.libcuda or driver.libcuda_elsewhere or "").rpartition("/")[0]
    named = {row["name"] for row in case.matrix.table("libcuda_paths")["rows"]}
    asked = [folder != "" and one.name in named for one in fixes]
    return [
        msgspec.structs.replace(one, value=folder) if theirs else one
        for one, theirs in zip(fixes, asked, strict=True)
    ]


def _ldconfig(folder: str | None) -> Fix:
    return Fix(
        action="run",
        name="ldconfig",
        command=f"sudo ldconfig {folder}" if folder else "sudo ldconfig",
        why="it makes the driver's libraries known to the loader and to triton",
        verify=_RULE,
    )


def _set(name: str, folder: str | None) -> Fix:
    why = "it must name the folder of the driver's libcuda"
    return Fix(action="set-env", name=name, value=folder, why=why, verify=_RULE)


def _is_stub(path: str | None) -> bool:
    return "stubs" in (path or "").split("/")
