"""A library of the operating system is missing, or was loaded in the wrong order.

## What it finds
A shared library that no Python package brings (OpenMP, OpenBLAS, OpenGL, MPI, the C++ runtime), and
the texts of a loader that has no room left for one.

## Why it hurts
Importing torch, or what is built on it, ends there.

## How we know
The text names the library; the data says which package of the system holds it.

## Fix
Install that package; where the loader has no room, load the library first.

## When to ignore
If what asks for it is not used.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from qdoctor import released
from qdoctor.model import Finding, Fix
from qdoctor.rules.case import quoted, rule
from qdoctor.rules.of_text import of_texts
from qdoctor.rules.remedies import system_package

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdoctor.rules.case import Case

NAME = "system-library-missing"
_TABLE = "system_libraries"
_OF_TEXTS = of_texts(NAME, __doc__, severity="error")


def find(case: Case) -> Iterator[Finding]:
    """Report each library that a text names and a package of the system brings."""
    table = case.matrix.table(_TABLE)
    for signal in case.signals_of(NAME):
        library = signal.said.get("library", "")
        row = table["rows"].get(_stem(library))
        if row is None:
            continue
        package, file = (_of_python(row[one], library) for one in ("package", "file"))
        brings = f"{package} of Debian 12 brings {file}"
        yield Finding(
            rule=NAME,
            severity="error",
            title=f"the system's library {library} is not installed",
            because=[quoted(signal), released.cited(table, row, brings)],
            fixes=[_install(case, package, file, library), *_own_folder(row)],
        )
    yield from _OF_TEXTS.find(case)


def _of_python(name: str, library: str) -> str:
    """Put Python's minor version, which the library's name tells, into the name of a file."""
    minor = re.search(r"3\.(\d+)", library)
    return name.replace("*", minor[1]) if minor else name


def _own_folder(row: dict[str, Any]) -> list[Fix]:
    """Offer the folder of the interpreter's own library, where an environment may hold one."""
    if "beside" not in row:
        return []
    return [Fix(action="set-env", name="LD_LIBRARY_PATH", why=row["beside"], verify=NAME)]


def _install(case: Case, package: str, file: str, library: str) -> Fix:
    """Offer the package; say so where it is known to bring the library under another name only."""
    why = f"it brings {file}"
    if _unhashed(library) != file:
        why += f"; {library} may be of another release of the system"
    return system_package(package, _command(case, package), why, verify=NAME)


def _unhashed(library: str) -> str:
    """Return the name that a library had before a wheel's builder put a hash into it."""
    return re.sub(r"-[0-9a-f]{6,}(?=\.so)", "", library)


def _command(case: Case, package: str) -> str | None:
    """Write the command of Debian and Ubuntu, where it may be such a system."""
    return f"apt-get install {package}" if case.machine.os.value in {None, "linux"} else None


def _stem(library: str) -> str:
    """Return what names a library's file before hash, version and ``.so``."""
    return re.split(r"\.|-[0-9a-f]{6,}", library, maxsplit=1)[0]


RULE = rule(NAME, __doc__, find, symptom_of=("interpreter-broken",))
