"""Takes personal data out of everything that is shown, once for all formats.

Home folders, user and host names, tokens, credentials in URLs, e-mail addresses and the UUIDs of
GPUs. Fields with a closed vocabulary (an outcome, a version, a rule) are never touched, so that a
user called ``linux`` does not spoil a report.
"""

from __future__ import annotations

import functools
import os
import platform
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from qdoctor import model

AnyNoun = TypeVar("AnyNoun", bound=model.Noun)

_CLOSED = {
    *("schema", "kind", "os", "machine", "libc", "version", "cuda", "compat_cuda", "sm", "vendor"),
    *("outcome", "expected", "code", "severity", "strength", "action", "applicability", "rule"),
    *("probe", "variant", "device", "backend", "package", "spec", "index", "selected", "verify"),
    *(
        "tool_version",
        "matrix_version",
        "manager",
        "fact",
        "affects",
        "symptom_of",
        "usable",
        "torch_cuda",
    ),
    *("objective", "measure", "allow", "deny"),
    *(
        "name",
        "torch_arch_list",
        "toolkit_cuda",
        "ptx",
        "glibc",
        "glibcxx",
        "ptx_isa",
        "packages",
        "arch",
        "compute_mode",
    ),
}
# Names that say nothing about a person, and are words of our own texts.
_IMPERSONAL = {
    *("root", "user", "users", "admin", "administrator", "ubuntu", "debian", "runner", "docker"),
    *("nobody", "default", "home", "test", "python", "conda", "jovyan", "vscode", "localhost"),
    *("linux", "windows", "gpu", "cuda", "torch", "triton", "bitsandbytes", "qdoctor", "none"),
}
_NAME_OF_A_CREDENTIAL = (
    r"(?:[A-Z0-9_]{0,200}_)?"
    r"(?:TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_?KEY|CREDENTIALS?)(?:_[A-Z0-9_]{1,200})?"
)
_SECRET_KEY = re.compile(_NAME_OF_A_CREDENTIAL, re.IGNORECASE)

# Each starts at few places or looks a bounded way ahead: a text may be one word of megabytes.
_ALWAYS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b(GPU|MIG)-(?:GPU-)?[0-9a-fA-F]{8}\b(?:[-/][0-9a-fA-F]+)*"), r"\1-<redacted>"),
    (re.compile(r"\b([a-z][a-z0-9+.-]{0,30}://)[^\s/@'\"]+@", re.IGNORECASE), r"\1<redacted>@"),
    # Heads as their issuers write them: ``hf_``, never ``hf-``, which begins package names.
    (re.compile(r"\b(?:hf|api_org|ghp|gho|ghu|ghs|ghr|npm)_\w{10,}"), "<token>"),
    (re.compile(r"\b(?:glpat|xox[abp])-[\w-]{10,}"), "<token>"),
    (re.compile(r"\b(?:sk|pypi)-(?=[\w-]{0,200}\d)[\w-]{16,}"), "<token>"),
    (re.compile(r"\bgithub_pat_\w{10,}"), "<token>"),
    (re.compile(r"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])"), "<token>"),
    (re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE), r"\1 <token>"),
    (
        re.compile(
            rf"\b({_NAME_OF_A_CREDENTIAL})(\s*[=:]\s*)(?!<)(\"[^\"]*\"|'[^']*'|[^\s'\",;&]+)",
            re.IGNORECASE,
        ),
        r"\1\2<redacted>",
    ),
    # neither a symbol of a library (f@libx.so.12) nor a repository's tag (transformers@v4.40.0)
    (
        re.compile(
            r"(?<![\w.+-])[\w.+-]+@(?![\w.-]+\.so\b|v?\d+(?:\.\d+){1,2}(?![\w.]))"
            r"[\w-]+(?:\.[\w-]+)+"
        ),
        "<e-mail>",
    ),
    # Anybody's home folder: a report may come from another machine.
    (re.compile(r"(?:(?<=[\s'\"=:(,;\[])|^)/(?:home|Users)/[^/\s:'\",;]+"), "~"),
    (re.compile(r"\b[A-Za-z]:[\\/]{1,2}Users[\\/]{1,2}[^\\/:\s'\",;]+", re.IGNORECASE), "~"),
)


class Identity(msgspec.Struct, frozen=True):
    """Who must not be recognised: a home folder, user names and host names; empty = none."""

    home: str = ""
    users: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


@functools.cache
def identity_here() -> Identity:
    """The person and machine that this process runs for."""
    users = {os.environ.get(name, "") for name in ("USER", "LOGNAME", "USERNAME", "SUDO_USER")}
    host = platform.node()
    try:
        home = str(Path.home())
    except RuntimeError:  # no HOME, and no entry for this user
        home = ""
    return Identity(home=home, users=_personal(users), hosts=_personal({host, host.split(".")[0]}))


def redact(noun: AnyNoun, identity: Identity | None = None) -> AnyNoun:
    """The same noun without personal data. ``identity`` defaults to this machine's."""
    clean = functools.partial(redact_text, identity=identity or identity_here())
    return model.from_plain(_walk(model.to_plain(noun), clean), type(noun), "redaction")


def redact_text(text: str, identity: Identity) -> str:
    """One text without personal data; what is not personal stays as it is."""
    if len(identity.home) > 1 and identity.home in text:
        text = re.sub(re.escape(identity.home) + r"(?![\w.-])", "~", text)
    for pattern, replacement in _ALWAYS:
        text = pattern.sub(replacement, text)
    for names, label in ((identity.hosts, "<host>"), (identity.users, "<user>")):
        for name in names:
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", label, text, flags=re.IGNORECASE)
    return text


def _personal(names: set[str]) -> tuple[str, ...]:
    """The names worth hiding, longest first so that a full host name goes before its head."""
    kept = {name for name in names if len(name) > 1 and name.casefold() not in _IMPERSONAL}
    return tuple(sorted(kept, key=lambda name: (-len(name), name)))


def _walk(value: Any, clean: Callable[[str], str]) -> Any:  # noqa: ANN401 - plain JSON in and out
    match value:
        case str():
            return clean(value)
        case list():
            return [_walk(item, clean) for item in value]
        case dict():
            return {key: _entry(key, item, clean) for key, item in value.items()}
        case _:
            return value


def _entry(key: str, value: Any, clean: Callable[[str], str]) -> Any:  # noqa: ANN401
    if key in _CLOSED:
        return value
    if key == "env" and isinstance(value, Mapping):
        return {name: _variable(name, text, clean) for name, text in value.items()}
    return _walk(value, clean)


def _variable(name: str, text: Any, clean: Callable[[str], str]) -> Any:  # noqa: ANN401
    if isinstance(text, str) and text and _SECRET_KEY.fullmatch(name):
        return "<redacted>"
    return _walk(text, clean)
