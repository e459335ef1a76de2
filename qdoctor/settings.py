"""What a project says once for all its runs: ``[tool.qdoctor]`` in pyproject.toml."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from qdoctor.model import BadInput

if TYPE_CHECKING:
    from pathlib import Path

_KNOWN = {"need"}


def project_needs(folder: Path) -> tuple[str, ...]:
    """The needs that ``folder``/pyproject.toml states; none where it says nothing.

    Raises ``BadInput`` for a file that is not TOML or a ``[tool.qdoctor]`` that cannot be meant.
    """
    path = folder / "pyproject.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path.name}: cannot be read: {error}") from error
    if "qdoctor" not in text:  # the common case, without the price of a TOML parser
        return ()
    return _needs(_table(text, path.name), path.name)


def _table(text: str, name: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415 - only where a project configures qdoctor
    else:
        import tomli as tomllib  # noqa: PLC0415
    try:
        tool = tomllib.loads(text).get("tool", {})
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, or a number without end
        raise BadInput(f"{name}: not valid TOML: {error}") from error
    table = tool.get("qdoctor", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        raise BadInput(f"{name}: [tool.qdoctor] must be a table, such as: need = ['half']")
    return table


def _needs(table: dict[str, Any], name: str) -> tuple[str, ...]:
    if strangers := sorted(set(table) - _KNOWN):
        raise BadInput(f"{name}: [tool.qdoctor] has no option {strangers[0]!r}; it has: need")
    needs = table.get("need", [])
    if not isinstance(needs, list) or not all(isinstance(need, str) for need in needs):
        raise BadInput(f"{name}: [tool.qdoctor] need must be a list of names: need = ['half']")
    return tuple(needs)
