"""Which tiny kernels this triton compiles, for which SM, without a GPU: a program of its own.

``python -B kernels/_compiles_ahead.py ANSWERS KERNEL SM ...`` appends a line of JSON to the file
ANSWERS before each SM ({"sm", "name"}: the triton name that the kernel is about) and one after it,
with "said": "yes", or why not. A compiler that aborts the process leaves its last words on stderr
and the SM it was at in the file. Exit status 3: something cannot be imported here, no answer.
"""

# ruff: noqa: ANN001, ANN202, ANN401, F821, N803 - Triton source has no types, its tl is bound later
# mypy: disable-error-code="no-untyped-def, no-any-return"

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Tuple

tl: Any  # triton.language, bound before a kernel is compiled
llrint: Any  # what find_libdevice found

_NOT_IMPORTABLE = 3


def _llrint(source, target, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(target + at, llrint(tl.load(source + at)))


def _int8_dot(a, b, c, K, BLOCK: tl.constexpr):
    ids = tl.arange(0, BLOCK)
    at_a = a + ids[:, None] * K + ids[None, :]
    at_b = b + ids[None, :] * K + ids[:, None]
    total = tl.zeros((BLOCK, BLOCK), dtype=tl.int32)
    for _ in range(0, K, BLOCK):
        total += tl.dot(tl.load(at_a), tl.load(at_b))
        at_a += BLOCK
        at_b += BLOCK
    tl.store(c + ids[:, None] * BLOCK + ids[None, :], total)


def _bf16_dot(a, b, c, K, BLOCK: tl.constexpr):
    ids = tl.arange(0, BLOCK)
    at_a = a + ids[:, None] * K + ids[None, :]
    at_b = b + ids[None, :] * K + ids[:, None]
    total = tl.zeros((BLOCK, BLOCK), dtype=tl.float32)
    for _ in range(0, K, BLOCK):
        total += tl.dot(tl.load(at_a), tl.load(at_b))
        at_a += BLOCK
        at_b += BLOCK
    tl.store(c + ids[:, None] * BLOCK + ids[None, :], total)


def _to_float8e4nv(source, target, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(target + at, tl.load(source + at).to(tl.float8e4nv).to(tl.int8, bitcast=True))


def _to_float8e4(source, target, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(target + at, tl.load(source + at).to(tl.float8e4).to(tl.int8, bitcast=True))


def _to_float8e5(source, target, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(target + at, tl.load(source + at).to(tl.float8e5).to(tl.int8, bitcast=True))


class Tiny(NamedTuple):
    """One kernel.

    ``functions``: the triton names it may be about, with the function for each; the first that is
    there is taken. ``block``: elements, or rows, columns and depth of a tile. ``instruction``: a
    pattern that its PTX must hold.
    """

    functions: Dict[str, Any]
    types: Dict[str, str]
    block: int
    warps: int
    instruction: str = ""


_ROUND = {"source": "*fp32", "target": "*i64"}
_CAST = {"source": "*fp32", "target": "*i8"}
_INT8 = {"a": "*i8", "b": "*i8", "c": "*i32", "K": "i32"}
_BF16 = {"a": "*bf16", "b": "*bf16", "c": "*fp32", "K": "i32"}
_INT8_MMA = r"(wgmma\.mma_async|mma\.sync)\S*\.s32\.s8\.s8|tcgen05\.mma\S*\.kind::i8"
_BF16_MMA = r"(wgmma\.mma_async|mma\.sync)\S*\.bf16\.bf16|tcgen05\.mma\S*\.kind::f16"
_E4M3 = {"float8e4nv": _to_float8e4nv, "float8e4": _to_float8e4}

TINY = {
    "libdevice_call": Tiny({}, _ROUND, 64, 1),
    "int8_dot": Tiny({"dot": _int8_dot}, _INT8, 64, 4, _INT8_MMA),
    "bf16_dot": Tiny({"dot": _bf16_dot}, _BF16, 64, 4, _BF16_MMA),
    "fp8_e4m3_cast": Tiny(_E4M3, _CAST, 512, 1),
    "fp8_e5m2_cast": Tiny({"float8e5": _to_float8e5}, _CAST, 512, 1),
}
"""Tiles of 64 and four warps are what warp-group instructions (SM 9.0 on) take, so that a release's
newest path is compiled; some releases cast to fp8 only four values a thread at once. Instructions
are those of PTX ISA (mma, wgmma, tcgen05.mma): without one, the compiler found another, slow way,
which is not what is asked about. ``libdevice_call`` has its function from where llrint is."""


def main(answers: str, kernel: str, sms: List[str]) -> int:
    """Compile ``kernel`` for each of ``sms`` ("8.6")."""
    try:
        with open(answers, "a", encoding="utf-8") as file:  # noqa: PTH123 - as plain as it gets
            for line in _lines(TINY[kernel], sms):
                file.write(json.dumps(line) + "\n")
                file.flush()
    except ImportError as error:
        sys.stderr.write("{}: {}\n".format(type(error).__name__, error))
        return _NOT_IMPORTABLE
    return 0


def _lines(tiny: Tiny, sms: List[str]) -> Iterator[Dict[str, str]]:
    api, made = _beside("_triton"), _beside("_outcomes")
    triton = importlib.import_module("triton")
    globals()["tl"] = importlib.import_module("triton.language")
    try:
        name, function = _found(api, tiny)
    except api.Unresolved as error:
        for sm in sms:
            yield {"sm": sm, "name": "", "said": str(error)}
        return
    jitted = triton.jit(function)
    for sm in sms:
        yield {"sm": sm, "name": name}
        yield {"sm": sm, "name": name, "said": _try(api, made, tiny, jitted, sm)}


def _try(api: Any, made: Any, tiny: Tiny, jitted: Any, sm: str) -> str:
    options = {"num_warps": tiny.warps, "num_stages": 2}
    try:
        result = api.compile_ahead(jitted, tiny.types, {"BLOCK": tiny.block}, sm, **options)
    except ImportError:
        raise  # something is missing here, which says nothing about the release
    except Exception as error:  # noqa: BLE001 - whatever else it raises is the answer
        return made.text_of(error)
    if result.stage != "cubin" or not result.asm["cubin"]:
        return "no machine code, only " + result.stage
    if tiny.instruction and not re.search(tiny.instruction, str(result.asm["ptx"])):
        return "compiled, but without the matrix instruction"
    return "yes"


def _found(api: Any, tiny: Tiny) -> Tuple[str, Any]:
    """Give the triton name that the kernel is about, and its function. Raises Unresolved."""
    if not tiny.functions:
        path, globals()["llrint"] = api.find_libdevice("llrint")
        return "triton.language." + path, _llrint
    for name, function in tiny.functions.items():
        if hasattr(tl, name):
            return "triton.language." + name, function
    raise api.Unresolved("triton.language has no " + " or ".join(tiny.functions))


def _beside(name: str) -> Any:
    path = Path(__file__).resolve().with_name(name + ".py")
    spec = importlib.util.spec_from_file_location("qdoctor_kernel_" + name, str(path))
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    sys.modules[spec.name] = module  # type: ignore[union-attr]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
