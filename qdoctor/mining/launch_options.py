"""Which options a launch of a Triton kernel takes: ``kernel[grid](..., num_ctas=1)``.

Up to 2.1 triton wrote a launcher for each kernel whose header names them, in 2.2 the launch asked
for each by its name, since 2.3 they are the fields of the backend's options. Of several backends
NVIDIA's counts.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LAUNCH = "kernel[grid]"
"""The owner of the options among keywords: each kernel has a name of its own."""
FILES = re.compile(r"triton/(?:runtime/jit|compiler/backends/cuda|backends/nvidia/compiler)\.py$")
_OPTIONS = "CUDAOptions"
_HEADER = re.compile(r"^def \{.*\bgrid(?:=None)?, (.*)\):$", re.MULTILINE)
_ASKED = "get_special_arg"
_OWN = {"grid", "stream", "warmup", "device", "device_type"}
"""What the launch itself takes, and every program may call something else so."""


def launch_options(texts: Mapping[str, str]) -> set[str]:
    """Give the options of one release; ``texts``: member -> its text, of which ``FILES`` count."""
    found: set[str] = set()
    for member, text in texts.items():
        if FILES.match(member):
            found.update(_in_header(text))
            found.update(_in_code(ast.parse(text)))
    return found - _OWN


def _in_header(text: str) -> Iterator[str]:
    for header in _HEADER.findall(text):
        yield from (one.partition("=")[0].strip() for one in header.split(","))


def _in_code(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == _OPTIONS:
            fields = [one.target for one in node.body if isinstance(one, ast.AnnAssign)]
            yield from (one.id for one in fields if isinstance(one, ast.Name))
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == _ASKED:
            named = node.args[0] if node.args else None
            if isinstance(named, ast.Constant) and isinstance(named.value, str):
                yield named.value
