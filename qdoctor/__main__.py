"""The program: ``python -m qdoctor`` and the script ``qdoctor``.

People keep a ``types.py`` or a ``random.py`` of their own in the folder they stand in, or in one on
PYTHONPATH, where Python looks before its own library. A doctor that dies of it can tell nobody.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # as typing's, which may be hidden too
if TYPE_CHECKING:
    from typing import NoReturn

# What every command imports; each is a folder, so that a single file of the name is another thing.
_REQUIRED = ("click", "elftools", "msgspec", "packaging", "platformdirs", "rich")
# Exit codes; exit_code.py is no place to learn them from while its imports may be hidden.
_BAD_INPUT, _COULD_NOT_TELL = 2, 3


def main() -> NoReturn:
    """Run the command line, with Python's own library found before files of the same names.

    Ctrl-C while it is still loading ends as Ctrl-C later does.
    """
    foreign = _own_library_first()
    hiding = _loaded_from(foreign) or _in_place_of_required(foreign)
    if hiding:
        name, file = hiding
        sys.stderr.write(
            f"qdoctor: {file} is imported in place of {name}, which qdoctor, like most programs, "
            "needs: rename it, or take its folder off PYTHONPATH\n"
        )
        sys.exit(_BAD_INPUT)
    try:
        from qdoctor import cli  # noqa: PLC0415 - only now is what it imports Python's own
    except KeyboardInterrupt:
        sys.exit(_COULD_NOT_TELL)
    cli.main()


def _own_library_first() -> list[str]:
    """Put Python's own library first on the path; return what had come before it."""
    library = os.path.dirname(os.__file__)
    own = (library, os.path.join(library, "lib-dynload"), os.path.join(sys.base_prefix, "DLLs"))
    foreign = sys.path[: sys.path.index(library)] if library in sys.path else []
    sys.path[:] = [one for one in own if one in sys.path] + [
        one for one in sys.path if one not in own
    ]
    return [one for one in foreign if one not in own]


def _loaded_from(folders: list[str]) -> tuple[str, str] | None:
    """Name what Python, or the script, has imported from ``folders`` already, and its file."""
    for name in sorted(sys.stdlib_module_names & sys.modules.keys()):
        file = getattr(sys.modules[name], "__file__", None) or ""
        home = os.path.dirname(file)
        if home in folders or (_is_folder(file) and os.path.dirname(home) in folders):
            return f"Python's own {name}", file
    return None


def _is_folder(file: str) -> bool:
    """Whether a module's file is that of a package's folder."""
    return os.path.basename(file).startswith("__init__.")


def _in_place_of_required(folders: list[str]) -> tuple[str, str] | None:
    for folder in folders:
        for name in _REQUIRED:
            file = os.path.join(folder, f"{name}.py")
            if os.path.isfile(file):
                return f"the package {name}", file
    return None


def _folder_here_last() -> None:
    """Look last in the folder we stand in, which ``python -m`` puts first."""
    if not getattr(sys.flags, "safe_path", sys.flags.isolated):
        sys.path.append(sys.path.pop(0))


if __name__ == "__main__":
    _folder_here_last()
    main()
