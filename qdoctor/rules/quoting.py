"""How people write what a program prints: other quotes, none, or those that a web page escaped.

Programs quote names in apostrophes. In a title they become quotation marks, backticks or nothing;
in JSON and in Markdown a backslash comes before them. A pattern for the program's own text is made
to fit these too, for short texts of which nothing else is known.
"""

from __future__ import annotations

import re
from functools import lru_cache

_QUOTE = "'"
_ANY_QUOTE = r"(?:\\?['\"`]|(?<![\w.])|(?!\.?\w))"
"""A quote of any kind, or none where a name begins or ends."""
_QUOTES = str.maketrans("", "", "'\"`\\")
_ESCAPED = re.compile(r"\\(?=['\"`])|&(?:#39|#x27|apos|quot|lt|gt|amp);")
_WORD = re.compile(r"\S+")
_ENTITIES = {
    "&#39;": "'",
    "&#x27;": "'",
    "&apos;": "'",
    "&quot;": '"',
    "&lt;": "<",
    "&gt;": ">",
    "&amp;": "&",
}


def unescaped(text: str) -> str:
    """Take out the backslashes of JSON and Markdown, and HTML's names for quotes and brackets."""
    text = _ESCAPED.sub(lambda found: _ENTITIES.get(found[0], ""), text)
    if r"\_" not in text:
        return text
    return _WORD.sub(lambda found: _without_escapes(found[0]), text)


def _without_escapes(word: str) -> str:
    """Take the backslashes before underscores out of a word, unless it is a path of Windows."""
    bare = word.replace(r"\_", "_")
    return word if "\\" in bare else bare


def without_quotes(text: str) -> str:
    """Return ``text`` without any quotes, to look for words in."""
    return text.translate(_QUOTES)


@lru_cache(maxsize=4096)
def loosened(pattern: str) -> str:
    """Return a regular expression that takes any quote, or none, where ``pattern`` has one.

    What stands in a class of characters is left as it is.
    """
    loose, in_class, escaped = [], False, False
    for place, sign in enumerate(pattern):
        free = not escaped and not in_class
        loose.append(_any_quote(pattern, place) if free and sign == _QUOTE else sign)
        if not escaped:
            in_class = sign == "[" or (in_class and sign != "]")
        escaped = sign == "\\" and not escaped
    return "".join(loose)


def _any_quote(pattern: str, place: int) -> str:
    """Return what takes the quote at a place; the one of a contraction may be left out anywhere."""
    before, after = pattern[place - 1 : place], pattern[place + 1 : place + 2]
    return f"{_ANY_QUOTE}?" if before == "n" and after == "t" else _ANY_QUOTE
