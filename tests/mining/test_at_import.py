"""What importing a package asks of other projects, read from small sources."""

from __future__ import annotations

from qdoctor.mining.at_import import before, modules_needed, torch_compiler
from qdoctor.sources.imports import executed, run_by
from qdoctor.sources.modules import Sources
from qdoctor.sources.uses import Use, Uses

GUARD = "is_triton_available"


def _sources(**texts: str) -> Sources:
    return Sources("pack", {f"pack/{name}.py": text for name, text in texts.items()})


def test_modules_are_those_that_every_import_asks_for() -> None:
    root = """
import os, scipy.stats
from . import inner
try:
    import caught
except ImportError:
    pass
if is_triton_available():
    import asked
def later():
    import in_a_function
"""
    sources = _sources(__init__=root, inner="from numpy import array\nimport torch\n")
    found = modules_needed(sources, list(executed(sources)))
    assert found == [Use("numpy", "pack/inner.py", 1), Use("scipy", "pack/__init__.py", 2)]


def test_torchs_compiler_is_loaded_by_its_decorator_and_by_the_guard() -> None:
    guard = f"def {GUARD}():\n    from torch._inductor.utils import has_triton\n"
    decorated = "import torch\n@torch.compile\ndef f(): pass\n"
    asking = "import torch\nbusy = torch.compiler.is_compiling\ndef f(): torch.compile(f)\n"

    def loads(text: str) -> list[str]:
        sources = _sources(__init__=text)
        return [use.name for use in torch_compiler(sources, list(executed(sources)), GUARD)]

    assert loads(guard) == ["torch._inductor.utils.has_triton"]
    assert loads(decorated) == ["torch.compile"]
    assert loads(asking) == []


def test_what_stands_above_the_first_decorator_comes_first() -> None:
    text = "import triton\nfrom triton.ops import a\n@triton.autotune()\ndef f(): pass\n"
    sources = _sources(__init__=text + "import triton.later\n")
    uses = Uses(sources, "triton")
    steps = list(executed(sources))
    needs = [use for step in steps for use in uses.under(step.module, run_by(step.node))]
    autotuned = [use for use in needs if use.name == "triton.autotune"]
    names = {use.name for use in before(autotuned, needs)}
    assert names == {"triton", "triton.ops.a"}
    assert before([], needs) == []
