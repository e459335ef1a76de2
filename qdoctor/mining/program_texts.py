"""What packages say where the environment is well: ``matrix/tables/program_texts.json``.

Read from the Python files of released wheels (or sources) that lie in a folder: the texts of
warnings and log lines (notices), and those of exceptions that speak of arguments and data
(refusals). What speaks of installing, releases or hardware is left out: that is for a signature of
its own. Of a text that is put together at run time its longest constant part is kept; a short one
is kept with its exception's name before it, which has to stand there, too; and of one that has few
words in any part the whole course is kept (shapes), with a star for what differs.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from qdoctor.mining.python_files import python_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

TABLE = "program_texts.json"
FEWEST = 6
"""Words that a text has at least: shorter ones are anybody's."""
FEWEST_NAMED = 5
"""Words that a text has at least that begins with the name of its exception, this one counted."""
FEWEST_OF_SHAPE = 4
"""Words that a shape has at least, its exception's name not counted: one of a whole line fewer."""
_MOST = 16
_LEFT_OUT = re.compile(
    r"(?:^|/)(?:test_utils|testing|tests?|commands|cli|benchmarks?|prototype|examples?|docs|tools"
    r"|scripts|third_party|experimental|evals?|entrypoints|tool_parsers|reasoning|csrc|hip)/"
    r"|/dummy_|convert_|(?:^|/)(?:test_[^/]*|setup|conftest)\.py$"
)
_MODELS = re.compile(
    r"^(?:transformers|diffusers)/(?:models/(?!modeling_utils)|pipelines/\w+/)"
    r"|/(?:model_executor|srt)/models/|/(?:transformers_utils|multimodal|tokenizers)/|^timm/"
)
_NOTED = {"warn", "warning", "warning_once", "warning_advice", "info", "info_once"}
_ABOUT_ARGUMENTS = {
    "ValueError",
    "TypeError",
    "KeyError",
    "NotImplementedError",
    "AttributeError",
    "AssertionError",
}
_REFUSED = _ABOUT_ARGUMENTS | {"RuntimeError", "IndexError", "Exception", "EnvironmentError"}
_INSTALLED = (
    r"install|version|upgrad|updat|downgrad|cuda|gpu|driver|torch\b|import|compil|availab|slow|fall"
    r"|librar|hardware|memory|not found|cannot find|fail|bfloat|bf16|fp8|float8|nvfp4|mxfp|rocm"
    r"|extension|capabilit|\bsm_?\d|\barch|ampere|hopper|turing|volta|blackwell|bitsandbytes"
    r"|\bhip\b|xpu|\bcpu\b|\bpip\b|kernels? (?:is|are|not)|platform|windows|built"
)
_OTHERS = re.compile(
    _INSTALLED + r"|device|require|support|kernel|error|fp16|float16|half precision"
    r"|quantiz\w+ method|accelerat",
    re.IGNORECASE,
)
_LASTING = {"vllm": 4, "sglang": 2, "unsloth": 4, "unsloth-zoo": 4, "gptqmodel": 4, "deepspeed": 4}
"""Of packages with thousands of texts: in how many of their releases looked at a text has to be."""
_WITHOUT_NOTICES = {"vllm", "sglang", "unsloth", "unsloth-zoo"}
"""Servers and trainers whose notices are logs of every start."""
_STRICTLY = re.compile(_INSTALLED, re.IGNORECASE)
_OF_SETUP = re.compile(
    r"install|version|upgrad|updat|downgrad|cuda|gpu|driver|import|compil|availab|slow|librar"
    r"|hardware|memory|not found|cannot find|fail|bfloat|bf16|fp8|float8|nvfp4|mxfp|rocm|extension"
    r"|capabilit|\bsm_?\d|\barch\b|ampere|hopper|turing|volta|blackwell|\bhip\b|xpu|\bpip\b|kernel"
    r"|platform|windows|built|accelerat|triton|flash|quantiz\w+ (?:method|type)"
    r"|^(?=[\s\S]*(?:requir|\bneeds?\b))[\s\S]*(?:[<>]=? ?v?\d|or (?:higher|newer|later)|torch_xla"
    r"|\b(?:apex|fairscale|peft|deepspeed|hqq|auto[-_]?gptq|awq|gptqmodel|optimum|quanto|xformers"
    r"|liger|scipy|wandb|pytorch|torchao|bitsandbytes|safetensors|transformers|datasets|cpu|mps"
    r"|[tnhx]pu|devices?|backend|accelerator|openvino|mlx|packages?)\b)",
    re.IGNORECASE,
)
"""What exceptions about arguments do not speak of where the argument is wrong."""
_OF_ARGUMENTS = re.compile(
    r"^triton/(?:language/|compiler/code_generator|runtime/(?:interpreter|jit|autotuner))"
    r"|^bitsandbytes/(?:functional|nn/|optim/|autograd/|backends/|utils)"
    r"|^(?:flash_attn|mamba_ssm|causal_conv1d|auto_gptq|awq|optimum/quanto|compressed_tensors"
    r"|llmcompressor|liger_kernel|src/liger_kernel)/"
)
"""Modules whose exceptions speak of what they are given, where they name nothing installed."""
_WORD = re.compile(r"[a-z0-9_]+")
HOLE = "\0"
"""What stands in a text for what differs."""
STAR = "*"
"""What stands in a shape for what differs."""
_PYTHONS_OWN = re.compile(r"\bhas no attribute\b|\bobject is not\b|\bkeyword argument\b")
"""What Python itself says in the same words, of anything."""
_NOT_WHOLE = re.compile(rf"\w*{HOLE}[\w{HOLE}]*")
KINDS = ("notices", "refusals", "shapes")


def texts_in(source: str, member: str = "") -> Iterator[tuple[str, str]]:
    """Yield (one of ``KINDS``, text) of each text of a module that says enough."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        kind, name, said = _said(node)
        if kind and said and not _others(kind, name, member).search(said):
            words = _longest(said)
            if len(words) < FEWEST:
                words = _named(name, said) if kind == "refusals" else []
            if words:
                yield kind, " ".join(words)
            elif kind == "refusals" and (shape := shape_of(name, said)):
                yield "shapes", shape


def _others(kind: str, name: str, member: str) -> re.Pattern[str]:
    """Return what a text is left out for: an exception's name and its module say its subject."""
    if kind == "refusals" and name in _ABOUT_ARGUMENTS:
        return _OF_SETUP
    return _STRICTLY if _OF_ARGUMENTS.match(member) else _OTHERS


def speaks_of_what_is_installed(text: str) -> bool:
    """Say whether a text may be about an installation, a release or hardware."""
    return _STRICTLY.search(text) is not None


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case, as texts are kept."""
    return _WORD.findall(text.lower())


def _said(node: ast.AST) -> tuple[str, str, str | None]:
    """Return the kind of text, who says it (an exception, else "") and the text."""
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
        name = getattr(node.exc.func, "id", "")
        return ("refusals" if name in _REFUSED else ""), name, _constant(node.exc.args[0])
    if isinstance(node, ast.Assert) and node.msg is not None:
        return "refusals", "AssertionError", _constant(node.msg)
    if isinstance(node, ast.Call) and node.args and isinstance(node.func, ast.Attribute):
        return ("notices" if node.func.attr in _NOTED else ""), "", _constant(node.args[0])
    return "", "", None


def _named(name: str, text: str) -> list[str]:
    """Return the words of a short text that begins with a constant part, its exception first."""
    words = words_of(f"{name}: {text.split(HOLE, maxsplit=1)[0]}")
    return words if len(words) >= FEWEST_NAMED and name in _ABOUT_ARGUMENTS else []


def shape_of(name: str, text: str) -> str:
    """Return the course of a text, its exception's name first; "" where it says too little.

    A word that is put together at run time counts as what differs.
    """
    parts = [" ".join(words_of(part)) for part in _NOT_WHOLE.sub(HOLE, text).split(HOLE)]
    words = f" {STAR} ".join(parts).split()
    kept = [
        one for place, one in enumerate(words) if one != STAR or words[place - 1 : place] != [STAR]
    ]
    constant = len([one for one in kept if one != STAR])
    if _PYTHONS_OWN.search(" ".join(kept)):
        return ""
    enough = FEWEST_OF_SHAPE if STAR in kept else FEWEST_OF_SHAPE - 1
    return " ".join([name.lower(), *kept]) if name in _REFUSED and constant >= enough else ""


def _constant(node: ast.expr) -> str | None:
    """Return what is constant of a text, a hole for the rest; None for no text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[sdrfi]|\{[^{}]*\}", HOLE, node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_constant(one) or HOLE for one in node.values)
    if isinstance(node, ast.BinOp):
        return f"{_constant(node.left) or HOLE}{_constant(node.right) or HOLE}"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return _constant(node.func.value) if node.func.attr == "format" else None
    return None


def _longest(text: str) -> list[str]:
    """Return the words of the longest part without a hole; at most some, from its beginning on."""
    return max((words_of(part) for part in text.split(HOLE)), key=len)[:_MOST]


def read(path: Path) -> dict[str, set[str]]:
    """Read the texts of a wheel or of sources, by kind."""
    found: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for name, source in python_files(path, _wanted):
        for kind, text in texts_in(source, name):
            found[kind].add(text)
    return found


def _wanted(name: str) -> bool:
    return not _LEFT_OUT.search(name) and not _MODELS.search(name)


def table_of(found: Mapping[str, dict[str, set[str]]], spans: Mapping[str, str]) -> dict[str, Any]:
    """Give the whole table: package -> its texts; what several say is kept once."""
    seen: set[str] = set()
    rows: dict[str, Any] = {}
    for package, kinds in sorted(found.items()):
        fresh = {kind: sorted(texts - seen) for kind, texts in kinds.items()}
        seen.update(*kinds.values())
        rows[package] = {**fresh, "source": package, "strength": "mined"}
    return {
        "about": "What packages say where nothing is wrong with the environment: notices (warnings "
        "and log lines) and refusals (exceptions about arguments and data). Words in lower case, "
        "the longest constant part of each text.",
        "columns": {
            "notices": "texts after which the program goes on",
            "refusals": "texts of exceptions about what the program passes",
            "shapes": "whole courses of such texts, the exception's name first, a star for what "
            "differs; one without a star is a whole line",
            "source": "key into sources",
            "strength": "documented | mined | inspected | observed",
        },
        "sources": {package: f"files of {package} ({span})" for package, span in spans.items()},
        "rows": rows,
    }


def kept_of(package: str, releases: Sequence[Mapping[str, set[str]]]) -> dict[str, set[str]]:
    """Give the texts of a package that are kept; ``releases``: the texts of each, by kind."""
    least = _LASTING.get(package, 1)
    kinds: dict[str, set[str]] = {}
    for kind in KINDS:
        said = Counter(text for texts in releases for text in texts[kind])
        silent = kind == "notices" and package in _WITHOUT_NOTICES
        kinds[kind] = {text for text, times in said.items() if times >= least and not silent}
    return kinds
