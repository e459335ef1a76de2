from __future__ import annotations

from qdoctor.mining.closure import needed_by
from qdoctor.sources.imports import executed, run_by
from qdoctor.sources.modules import Sources
from qdoctor.sources.uses import Uses, names_of


def sources(root: str = "", **texts: str) -> Sources:
    members = {f"pkg/{name}.py": text for name, text in texts.items()}
    return Sources("pkg", {"pkg/__init__.py": root, **members})


def used(text: str) -> list[str]:
    return names_of(Uses(sources(a=text), "triton").everywhere())


def test_aliases_are_seen_through() -> None:
    text = "import triton\nimport triton.language as tl\ntl.math.llrint(triton.cdiv(1, 2))\n"
    assert used(text) == ["triton", "triton.cdiv", "triton.language", "triton.language.math.llrint"]


def test_a_dotted_import_binds_the_package() -> None:
    assert used("import triton.language\ntriton.language.load\n") == [
        "triton.language",
        "triton.language.load",
    ]


def test_attributes_of_imported_objects_are_not_names_of_the_package() -> None:
    text = "from triton.runtime import driver\ndriver.active.utils\n"
    text += "from triton import language as l\nl.dot\n"
    assert used(text) == ["triton.language", "triton.language.dot", "triton.runtime.driver"]


def test_like_named_packages_and_own_modules_are_others() -> None:
    text = "import tritonclient\nfrom . import triton\nfrom .triton import x\ntriton.jit\n"
    assert used(text) == []


def test_the_place_of_a_use_is_its_line() -> None:
    text = "import triton\n\n\nf(\n  triton.jit\n)\n"
    found = Uses(sources(a=text), "triton").everywhere()
    assert [(use.name, use.member, use.line) for use in found] == [
        ("triton", "pkg/a.py", 1),
        ("triton.jit", "pkg/a.py", 5),
    ]


def needs(root: str, **texts: str) -> dict[str, bool]:
    read = sources(root, **texts)
    uses = Uses(read, "triton")
    found: dict[str, bool] = {}
    for step in executed(read):
        for use in uses.under(step.module, run_by(step.node)) if not step.caught else ():
            found[use.name] = found.get(use.name, True) and step.asked
    return found


GUARDED = """
if not is_triton_available():
    def f(): return None
else:
    import triton
    from triton.ops.matmul_perf_model import early_config_prune
    @triton.jit
    def f(x: triton.constexpr = 1): triton.cdiv(1, 2)
"""


def test_importing_runs_the_branch_for_an_installed_triton() -> None:
    found = needs(root="from .nn import f", nn=GUARDED)
    assert found == {
        "triton": True,
        "triton.constexpr": True,
        "triton.jit": True,
        "triton.ops.matmul_perf_model.early_config_prune": True,
    }


def test_an_import_without_asking_is_told_apart() -> None:
    assert needs(root="import triton") == {"triton": False}


def test_what_a_try_catches_is_not_needed() -> None:
    text = "try:\n    import triton\nexcept ImportError:\n    triton = None\n"
    assert needs(root=text) == {}


def test_modules_that_nothing_imports_do_not_run() -> None:
    assert needs(root="", kernels="import triton") == {}


def test_branches_for_other_makers_devices_are_not_taken() -> None:
    text = "if torch.xpu.is_available():\n    from . import kernels\n"
    assert needs(root=text, kernels="import triton") == {}


def test_either_branch_of_another_question_may_run() -> None:
    text = "if torch.cuda.is_available():\n    from . import kernels\n"
    assert needs(root=text, kernels="import triton") == {"triton": False}


LAYER = """
from .k import quantize, unused
class _Fn:
    def forward(self): return quantize()
    def backward(self): return unused()
class Layer:
    def __init__(self): self.fn = _Fn
"""


def test_what_a_layer_needs_is_found_through_calls_and_imports() -> None:
    read = sources(nn=LAYER, k="def quantize(): kernel()\ndef kernel(): ...\ndef unused(): ...\n")
    found = needed_by(read, "pkg.nn", "Layer", without=frozenset({"backward"}))
    named = {node.name for _module, node in found if hasattr(node, "name")}
    assert named == {"__init__", "forward", "quantize", "kernel"}


def test_a_class_that_is_not_there_needs_nothing() -> None:
    assert needed_by(sources(), "pkg.nn", "Layer", without=frozenset()) == []
