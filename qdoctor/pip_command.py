"""A command of pip as data: read from a fix, changed, and written again."""

from __future__ import annotations

import re
import shlex
from functools import lru_cache

import msgspec

_PIP = ("python", "-m", "pip")
_FLAGS = {"--force-reinstall": "anew", "--no-deps": "alone", "--upgrade": "newer", "-y": "sure"}
_WITH_VALUE = {"--config-settings", "--no-binary"}
_PLAIN = re.compile(r"[\w.@=:/+-]+")
_NAME = re.compile(r"[A-Za-z0-9._-]+")


class Request(msgspec.Struct, frozen=True):
    """What a command of pip asks for; ``rest`` holds options that not every tool has a word for.

    ``before`` are the environment variables that are set for it.
    """

    verb: str
    wanted: tuple[str, ...]
    anew: bool = False
    alone: bool = False
    newer: bool = False
    sure: bool = False
    index: str | None = None
    rest: tuple[str, ...] = ()
    before: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """All of it after the verb, as pip takes it."""
        flags = [flag for flag, name in _FLAGS.items() if getattr(self, name)]
        index = ["--index-url", self.index] if self.index else []
        return " ".join([*flags, *map(quoted, self.rest), *map(quoted, self.wanted), *index])

    @property
    def command(self) -> str:
        """The command of pip."""
        return " ".join([*self.before, *_PIP, self.verb, self.said])


@lru_cache(maxsize=512)
def read(command: str) -> Request | None:
    """Read a command of pip; None for any other command."""
    words = shlex.split(command)
    before = 0
    while before < len(words) and re.match(r"\w+=", words[before]):
        before += 1
    words, variables = words[before:], words[:before]
    if tuple(words[:3]) != _PIP or words[3:4] not in (["install"], ["uninstall"]):
        return None
    given = iter(words[4:])
    wanted: list[str] = []
    rest: list[str] = []
    flags: dict[str, bool] = {}
    index: str | None = None
    for word in given:
        if word == "--index-url":
            index = next(given, None)
        elif word in _FLAGS:
            flags[_FLAGS[word]] = True
        elif word in _WITH_VALUE:
            rest += [word, next(given, "")]
        else:
            (rest if word.startswith("-") else wanted).append(word)
    said_before = tuple(re.sub(r"=(.*)", r'="\1"', one, count=1) for one in variables)
    return Request(
        words[3], tuple(wanted), index=index, rest=tuple(rest), before=said_before, **flags
    )


def quoted(word: str) -> str:
    """Write a requirement or an option as a shell takes it: ``<`` would be a redirection."""
    return word if _PLAIN.fullmatch(word) and "==" not in word else f'"{word}"'


def name_of(requirement: str) -> str:
    """Return the name in a requirement."""
    found = _NAME.match(requirement)
    return found[0] if found else requirement
