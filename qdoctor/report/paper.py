"""The page that the text report is written on: wrapped lines, hanging indents, colour or none.

Nothing that a fact or a log contains can drive the reader's terminal: control characters are made
visible. Commands are never wrapped or cut, so that they can be copied.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from qdoctor.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

_NARROWEST = 60

Part = tuple[str, str]
"""Some text and its style, ``""`` for plain."""


class Paper:
    """Collects the lines of one text report of ``width`` columns."""

    def __init__(self, *, color: bool, width: int) -> None:
        """``color`` writes ANSI styles, whatever the environment says."""
        self._width = max(width, _NARROWEST)
        self._file = io.StringIO()
        self._console = Console(
            file=self._file,
            width=self._width,
            force_terminal=color,
            color_system="standard" if color else None,
            no_color=not color,
            legacy_windows=False,
            highlight=False,
            markup=False,
            emoji=False,
            _environ={},
        )

    def line(self, *parts: Part, indent: int = 0) -> None:
        """Write one paragraph, wrapped with a hanging indent."""
        self._console.print(Padding(self._text(parts), (0, 0, 0, indent)))

    def row(self, labels: Sequence[tuple[str, str, int]], *parts: Part, indent: int = 2) -> None:
        """Write ``labels`` (text, style, columns), then a paragraph that hangs behind them."""
        head = Text()
        for label, style, columns in labels:
            shown = visible(label)
            head.append(shown, style)
            head.append(" " * max(columns - cell_len(shown), min(columns, 1)))
        left = indent + cell_len(head.plain)
        wrapped = self._text(parts).wrap(
            self._console, max(self._width - left, 20), overflow="fold"
        )
        for number, text in enumerate(wrapped or [Text()]):
            start = Text(" " * indent) + head if number == 0 else Text(" " * left)
            self._unwrapped(start + text)

    def command(self, command: str, *, indent: int) -> None:
        """Write one command on one line, however long, ready to be copied."""
        self._unwrapped(Text(" " * indent) + Text(visible(command), "bold"))

    def heading(self, title: str) -> None:
        """Write the title of a section, after an empty line."""
        self._console.print()
        self._console.print(Text(title, "bold underline"))

    def written(self) -> str:
        """Everything written so far, without spaces at line ends."""
        lines = self._file.getvalue().splitlines()
        return "\n".join(line.rstrip() for line in lines) + "\n"

    def _text(self, parts: Sequence[Part]) -> Text:
        text = Text(overflow="fold")
        for words, style in parts:
            text.append(self._kept(words), style)
        return text

    @staticmethod
    def _kept(words: str) -> str:
        """Visible text that keeps a space at either end, which parts a sentence."""
        shown = visible(words)
        return " " * words.startswith(" ") + shown + " " * (words.endswith(" ") and bool(shown))

    def _unwrapped(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True)
