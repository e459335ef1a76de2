"""Does Triton cast to fp8 and back exactly: ``e4m3`` and ``e5m2``, from float32 and from bfloat16?

Reference: ``_fp8.py``, exact fractions. What becomes of numbers past the largest is left open by
OFP8, and the outcome says it. Where no instruction converts float32 itself, Triton rounds by way of
float16: a float32 within half a float16 step of a tie may then go the other way. Those are counted,
and right either way.
"""

# ruff: noqa: ANN001, ANN202, ANN401, B905, BLE001, F821, N803 - Triton source has no types, its tl
# is bound later, any error is an answer, and Python 3.8 knows no strict zip
# mypy: disable-error-code="no-untyped-def, no-any-return"

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import subprocess  # noqa: TID251 - a compiler that remembers another SM needs another process
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

PROBE = {  # type: Dict[str, Any]
    "name": "triton_fp8_cast",
    "title": "Triton fp8 casts (e4m3 and e5m2)",
    "needs": ["torch", "triton", "gpu"],
    "compile_needs": ["triton"],
    "modes": ["run", "compile"],
    "seconds": 120,
    "memory_mib": 8192,
    "gpu_mib": 64,
    "imports": ["torch", "triton"],
    "quick": False,
    "variants": ["e4m3", "e5m2", "e4m3-from-bf16", "e5m2-from-bf16"],
    "tolerance": 0.0,
    "sms": ["8.0", "8.9", "9.0"],
}

SOURCES = {"float32": "*fp32", "bfloat16": "*bf16"}
CASTS = {
    "e4m3": ("e4m3", "float32"), "e5m2": ("e5m2", "float32"),
    "e4m3-from-bf16": ("e4m3", "bfloat16"), "e5m2-from-bf16": ("e5m2", "bfloat16"),
}  # fmt: skip
"""Each variant's format and source: compilers take other ways from either. The first two are cast
back as well."""
BLOCK = 512
"""Some releases cast only four values a thread at once: 512 over one warp is enough."""
NAMES = {"e4m3": "float8e4nv", "e5m2": "float8e5"}
CONVERSION = re.compile(r"cvt\.rn\.(?:satfinite\.)?e[45]m[23]x2\.\S+")
"""PTX of a conversion to fp8 in hardware (PTX ISA, cvt)."""

tl: Any  # triton.language, bound before a kernel is compiled


def phase(text: str) -> None:
    """Say what is under way; the harness puts its own in this place."""


# A type is spelled out in each: not every release takes one as a constant of the kernel.


def _narrow_e4m3(source, bits, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(bits + at, tl.load(source + at).to(tl.float8e4nv).to(tl.int8, bitcast=True))


def _widen_e4m3(bits, target, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(target + at, tl.load(bits + at).to(tl.float8e4nv, bitcast=True).to(tl.float32))


def _narrow_e5m2(source, bits, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(bits + at, tl.load(source + at).to(tl.float8e5).to(tl.int8, bitcast=True))


def _widen_e5m2(bits, target, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(target + at, tl.load(bits + at).to(tl.float8e5, bitcast=True).to(tl.float32))


_SOURCES = {"e4m3": (_narrow_e4m3, _widen_e4m3), "e5m2": (_narrow_e5m2, _widen_e5m2)}


def run(request: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    """Yield an outcome a variant ("run"), or one a variant and SM ("compile")."""
    if request.get("mode") != "compile":
        index = int(request.get("device") or 0)
        for variant in PROBE["variants"]:
            fields = {"variant": variant, "device": "cuda:{}".format(index), "ran": True}
            yield _guarded(fields, _ran, variant, index)
        return
    sms = list(request.get("sms") or PROBE["sms"])
    for sm in sms:
        fields = {"device": "sm_" + sm.replace(".", ""), "ran": False}
        if len(sms) > 1:
            yield from _in_a_process_of_its_own(sm, fields)
            continue
        for variant in PROBE["variants"]:
            yield _guarded(dict(fields, variant=variant), _compiled, variant, sm)


def _guarded(fields: Dict[str, Any], work: Any, variant: str, place: Any) -> Dict[str, Any]:
    made = _beside("_outcomes")
    try:
        phase("importing triton")
        return dict(work(made, variant, _kernels(made, variant), place), **fields)
    except Exception as error:
        return made.from_error(error, **fields)


def _in_a_process_of_its_own(sm: str, fields: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Compile for one SM by the harness.

    Triton keeps the conversions of the first SM that a process compiles a cast for, and takes them
    for every later one: for SM 8.0 after 9.0 it writes instructions that SM 8.0 does not have.
    """
    phase("compiling for SM {} in a process of its own".format(sm))
    with tempfile.TemporaryDirectory(prefix="qdoctor-fp8-") as control:
        Path(control, "request.json").write_text(json.dumps({"mode": "compile", "sms": [sm]}))
        harness = Path(__file__).resolve().with_name("_harness.py")
        done = subprocess.run(
            [sys.executable, "-B", str(harness), str(Path(__file__).resolve()), control],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            timeout=PROBE["seconds"] / 2, check=False,
        )  # fmt: skip
        for name in ("result.json", "partial.json"):
            path = Path(control, name)
            found = json.loads(path.read_text())["outcomes"] if path.exists() else []
            if len(found) == len(PROBE["variants"]):
                return found
    words = done.stderr.decode(errors="replace").split("Fatal Python error")[0]  # then the stack
    said = words.strip().splitlines() or ["it said nothing"]
    text = "the compiler ended its process (status {}): {}".format(done.returncode, said[-1])
    left = PROBE["variants"][len(found) :]
    broke = _beside("_outcomes").outcome("failed", text, code="failed", variant=left[0], **fields)
    return [*found, broke]


# Compiling and running


def _kernels(made: Any, variant: str) -> Tuple[Any, Any]:
    """Jit the kernel that narrows to the variant's format, and the one that widens it."""
    triton = importlib.import_module("triton")
    globals()["tl"] = language = importlib.import_module("triton.language")
    kind = CASTS[variant][0]
    if not hasattr(language, NAMES[kind]):
        raise made.Skipped("not-shipped", "triton.language has no " + NAMES[kind])
    narrow, widen = _SOURCES[kind]
    return triton.jit(narrow), triton.jit(widen)


def _compiled(made: Any, variant: str, kernels: Any, sm: str) -> Dict[str, Any]:
    api, results = _beside("_triton"), []
    works = [(kernels[0], {"source": SOURCES[CASTS[variant][1]], "bits": "*i8"})]
    if variant in NAMES:
        works.append((kernels[1], {"bits": "*i8", "target": "*fp32"}))
    for kernel, types in works:
        phase("compiling {} for SM {}: {}".format(variant, sm, list(types.values())))
        results.append(api.compile_ahead(kernel, types, {"BLOCK": BLOCK}, sm, num_warps=1))
    return made.outcome(
        "passed",
        "compiled, not run",
        path_taken=_path(variant, str(results[0].asm["ptx"])),
        numbers={"cubin_bytes": sum(len(one.asm[one.stage]) for one in results)},
        evidence=[results[0].note] if results[0].note else [],
    )


def _path(variant: str, ptx: str) -> str:
    kind = CASTS[variant][0]
    found = sorted({one for one in CONVERSION.findall(ptx) if kind in one})
    how = " and ".join(found) if found else "by integer arithmetic"
    return "triton.language.{}: {}".format(NAMES[kind], how)


def _ran(made: Any, variant: str, kernels: Any, index: int) -> Dict[str, Any]:
    phase("importing torch")
    torch = importlib.import_module("torch")
    if not torch.cuda.is_available():
        raise made.Skipped("no-gpu", "torch.cuda.is_available() is False")
    kind, source = CASTS[variant]
    numbers = _beside("_fp8").values(kind, source)
    with torch.cuda.device(int(index)):
        phase("casting {} to {}".format(source, kind))
        x = torch.tensor(numbers + [0.0] * (-len(numbers) % BLOCK)).to(getattr(torch, source))
        bits, ptx = _cast(torch, kernels[0], x.cuda())
        back = None
        if variant in NAMES:
            phase("casting {} to float32".format(kind))
            back = _cast_back(torch, kernels[1])
    outcome = judged(made, variant, bits, back, _path(variant, ptx))
    outcome["numbers"]["gpu_mib"] = _beside("_torch").gpu_mib(torch)
    return outcome


def judged(
    made: Any, variant: str, bits: List[int], back: Optional[List[float]], path: str
) -> Dict[str, Any]:
    """Hold the bytes of ``values``, and all 256 bytes cast back, to the reference.

    Rounding twice, by way of float16, is right where no instruction converts float32 itself.
    """
    fp8, (kind, source) = _beside("_fp8"), CASTS[variant]
    asked = fp8.values(kind, source)
    wrong, twice, past = [], 0, set()
    for value, got in zip(asked, bits):
        allowed = fp8.encode(value, kind)
        if got not in allowed and "x2.f32" not in path and got in fp8.by_float16(value, kind):
            twice += 1
        elif got not in allowed:
            wrong.append("{!r} became 0x{:02x}, not 0x{:02x}".format(value, got, allowed[0]))
        elif len(allowed) > 1 and value == value:  # noqa: PLR0124 - not a NaN
            past.add("saturating" if got == allowed[0] else "not saturating")
    for byte, value in enumerate(back or []):
        wanted = fp8.decode(byte, kind)
        if not fp8.same(value, wanted):
            wrong.append("0x{:02x} became {!r}, not {!r}".format(byte, value, wanted))
    count = len(asked) + len(back or [])
    numbers = {
        "casts": count, "wrong_casts": len(wrong), "rounded_twice": twice,
        "tolerance": PROBE["tolerance"],
    }  # fmt: skip
    fields = {"numbers": numbers, "path_taken": path}
    if wrong:
        return made.outcome("wrong", wrong[0], code="wrong-value", evidence=wrong[1:6], **fields)
    detail = "{} casts are right; past the largest number: {}".format(
        count, " and ".join(sorted(past))
    )
    return made.outcome("passed", detail, **fields)


def _cast(torch: Any, kernel: Any, x: Any) -> Tuple[List[int], str]:
    """Cast a whole number of blocks on the current GPU: the bytes, and the kernel's PTX."""
    bits = torch.full(x.shape, 85, dtype=torch.int8, device="cuda")
    grid = (x.numel() // BLOCK,)
    compiled = kernel[grid](x, bits, BLOCK=BLOCK, num_warps=1)
    return [one & 0xFF for one in bits.tolist()], str(compiled.asm["ptx"])


def _cast_back(torch: Any, kernel: Any) -> List[float]:
    """Cast each of the 256 bytes to float32 on the current GPU."""
    bits = torch.arange(BLOCK, device="cuda").to(torch.uint8).view(torch.int8)
    target = torch.full((BLOCK,), -7.0, dtype=torch.float32, device="cuda")
    kernel[(1,)](bits, target, BLOCK=BLOCK, num_warps=1)
    found: List[float] = target.tolist()[:256]
    return found


def _beside(name: str) -> Any:
    module = sys.modules.get("qdoctor_kernel_" + name)
    if module is None:
        path = Path(__file__).resolve().with_name(name + ".py")
        spec = importlib.util.spec_from_file_location("qdoctor_kernel_" + name, str(path))
        module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
        sys.modules[spec.name] = module  # type: ignore[union-attr]
        spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


if __name__ == "__main__":
    raise SystemExit(_beside("_harness").by_hand(__file__))
