"""Triton from 2.0 on, whatever its release: where libdevice is, and compiling without a GPU.

Each release's API is recognised by what it has, never by its number. Python 3.8 syntax, standard
library only at import; triton (and, where its release insists, torch) when called.
"""

# ruff: noqa: ANN401 - what triton's releases hand over has no common types

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
import tempfile
from typing import Any, Callable, Dict, List, NamedTuple, Tuple

LIBDEVICE_PATHS = ("extra.cuda.libdevice", "extra.libdevice", "math", "libdevice")
"""Where ``llrint`` has lived below ``triton.language``, preferred first."""

INT8_MATRIX_INSTRUCTION = re.compile(
    r"(wgmma\.mma_async|mma\.sync)\S*\.s32\.s8\.s8|tcgen05\.mma\S*\.kind::i8"
)
"""PTX of an int8 product with int32 sums on tensor cores (PTX ISA: mma, wgmma, tcgen05.mma)."""

PRODUCT_INSTRUCTIONS = re.compile(
    r"(?:tcgen05\.mma|wgmma\.mma_async|mma\.sync|wmma\.mma|dp4a|fma\.rn|(?:mad|mul)\.lo)[^\s;]*"
)
"""PTX by which a matrix product may be computed instead, fast or slow."""


class Compiled(NamedTuple):
    """What came out: the text or bytes of each stage, and the last stage reached."""

    stage: str
    asm: Dict[str, Any]
    note: str


class Unresolved(AttributeError):  # noqa: N818 - it names a state of the release
    """No historical path of this triton leads to the function."""


def find_libdevice(function: str) -> Tuple[str, Any]:
    """Find a libdevice function in this triton: (dotted path from triton.language on, function).

    Raises Unresolved naming every path tried.
    """
    language = importlib.import_module("triton.language")
    tried: List[str] = []
    for path in LIBDEVICE_PATHS:
        place: Any = language
        try:
            for part in path.split("."):
                place = getattr(place, part)
            return path + "." + function, getattr(place, function)
        except AttributeError as error:
            tried.append(str(error))
    raise Unresolved("; ".join(tried))


def int8_matrix_instruction(ptx: str) -> str:
    """Return the first int8 tensor-core instruction of the PTX, without operands, or ``""``."""
    found = INT8_MATRIX_INSTRUCTION.search(ptx)
    return found.group(0) if found else ""


def product_instruction(ptx: str) -> str:
    """Return the first instruction of the PTX that multiplies and adds, or ``""``.

    Matrix instructions come first, wherever they stand: address arithmetic multiplies and adds too.
    """
    found = PRODUCT_INSTRUCTIONS.findall(ptx)
    return str(min(found, key=lambda one: one.startswith(("fma", "mad", "mul")), default=""))


def compile_ahead(
    kernel: Any,
    types: Dict[str, str],
    constants: Dict[str, Any],
    sm: str,
    **options: int,
) -> Compiled:
    """Compile a jitted kernel for ``sm`` ("8.6") as far as this triton can without a GPU.

    ``types`` gives the type ("*fp32", "i32") of each run-time argument in order, ``constants`` the
    value of each constexpr; options are num_warps and num_stages. Raises what the compiler raises,
    with ``said``: what it wrote to stderr, where MLIR puts the reason.
    """
    try:
        return _compile(kernel, types, constants, sm, options)
    except Exception as error:
        # Only now, and once more: a compiler that aborts must find the real stderr in its place.
        error.said = _words(lambda: _compile(kernel, types, constants, sm, options))  # type: ignore[attr-defined]
        raise


def _words(action: Callable[[], Any]) -> List[str]:
    """Repeat what failed with stderr kept: the lines of native code that name an error."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            action()
        except Exception:  # noqa: BLE001, S110 - it failed the same way before, and that is raised
            pass
        finally:
            os.dup2(saved, 2)
            os.close(saved)
        kept.seek(0)
        lines = kept.read().decode(errors="replace").splitlines()
    return [line.strip() for line in lines if "error:" in line]


def _compile(
    kernel: Any,
    types: Dict[str, str],
    constants: Dict[str, Any],
    sm: str,
    options: Dict[str, int],
) -> Compiled:
    arch = int(sm.replace(".", ""))
    compiler = importlib.import_module("triton.compiler")
    if hasattr(compiler, "ASTSource"):
        source = _source(compiler.ASTSource, kernel, types, constants)
        try:
            target = importlib.import_module("triton.backends.compiler").GPUTarget("cuda", arch, 32)
        except ImportError:
            return _by_backend(source, arch, options)
        made = importlib.import_module("triton").compile(source, target=target, options=options)
        return Compiled("cubin", dict(made.asm), "")
    return _by_functions(kernel, types, constants, arch, options)


def _source(kind: Any, kernel: Any, types: Dict[str, str], constants: Dict[str, Any]) -> Any:
    """Build an ASTSource. Since the argument is called constexprs, the types list them as well."""
    if "constexprs" not in inspect.signature(kind.__init__).parameters:
        return kind(kernel, signature=_keyed(kind, types), constants=constants)
    signature = {name: types.get(name, "constexpr") for name in kernel.arg_names}
    return kind(kernel, signature=signature, constexprs=constants)


def _keyed(kind: Any, types: Dict[str, str]) -> Dict[Any, str]:
    """Types by name where the release checks for names, else by position."""
    if "keys must be string" in inspect.getsource(kind):
        return dict(types)
    return dict(enumerate(types.values()))


def _by_backend(source: Any, arch: int, options: Dict[str, int]) -> Compiled:
    """Triton 2.3: ``compile`` builds a launcher against libcuda; the backend's stages do not."""
    module = importlib.import_module("triton.compiler.backends.cuda")
    backend = module.CUDABackend(("cuda", arch))
    chosen = backend.parse_options(dict(options))
    stages: Dict[str, Callable[..., Any]] = {}
    backend.add_stages(stages, chosen)
    metadata = dict(source.metadata())
    value = source.make_ir(chosen)
    asm: Dict[str, Any] = {}
    for name, stage in stages.items():
        value = stage(value, metadata)
        asm[name] = value if isinstance(value, bytes) else str(value)
    return Compiled("cubin", asm, "compiled by the backend's stages, launcher not built")


def _by_functions(
    kernel: Any,
    types: Dict[str, str],
    constants: Dict[str, Any],
    arch: int,
    options: Dict[str, int],
) -> Compiled:
    """Triton 2.0 to 2.2: the stage functions one by one, as their ``compile`` chains them.

    Their ``compile`` itself links a launcher against libcuda first, which needs a driver.
    """
    compiler = _stage_functions()
    signature = {kernel.arg_names.index(name): kind for name, kind in types.items()}
    known: Dict[str, Any] = {
        "fn": kernel,
        "signature": signature,
        "specialization": compiler.instance_descriptor(),
        "constants": {kernel.arg_names.index(name): value for name, value in constants.items()},
        "debug": False,
        "arch": arch,
        "compute_capability": arch,
        "extern_libs": {},
        "num_ctas": 1,
        "enable_warp_specialization": False,
        "enable_persistent": False,
        "optimize_epilogue": False,
        "num_warps": options.get("num_warps", 4),
        "num_stages": options.get("num_stages", 3),
    }
    _add_descriptors(compiler, known, arch)
    return _chain(compiler, known)


def _stage_functions() -> Any:
    try:
        return importlib.import_module("triton.compiler.compiler")
    except ImportError:  # 2.0: one file, not yet a package
        return importlib.import_module("triton.compiler")


_STAGES = (
    ("ttir", ("ast_to_ttir", "optimize_ttir")),
    ("ttgir", ("ttir_to_ttgir", "optimize_ttgir")),
    ("llir", ("ttgir_to_llir",)),
    ("ptx", ("llir_to_ptx",)),
    ("cubin", ("ptx_to_cubin",)),
)


def _chain(compiler: Any, known: Dict[str, Any]) -> Compiled:
    asm: Dict[str, Any] = {}
    value: Any = None
    for stage, names in _STAGES:
        for name in names:
            function = getattr(compiler, name, None)
            if function is not None:
                value = _call(function, value, known)
        asm[stage] = value if isinstance(value, bytes) else str(value)
    return Compiled("cubin", asm, "compiled stage by stage, launcher not built")


def _call(function: Callable[..., Any], value: Any, known: Dict[str, Any]) -> Any:
    """Call a stage with the arguments that its signature names; the first is its input."""
    names = [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is parameter.empty
    ]
    first = known["fn"] if names[0] == "fn" else value
    return function(first, *[known[name] for name in names[1:]])


def _add_descriptors(compiler: Any, known: Dict[str, Any], arch: int) -> None:
    """Triton 2.2 describes the target, its clusters and its tensor maps by objects."""
    if hasattr(compiler, "CudaTargetDescriptor"):
        known["target"] = compiler.CudaTargetDescriptor(
            capability=arch, num_warps=known["num_warps"], enable_fp_fusion=True
        )
        known["cluster_info"] = compiler.ClusterInfo()
        known["tma_infos"] = compiler.TMAInfos()
