"""Are the installed bitsandbytes' 4-bit weights what nf4 and fp4 say, and is its layer right?

Each variant quantizes a weight and reads it back, element by element against a codebook of our own
(``_bnb_weights.py``), then multiplies by ``Linear4bit`` against float64. The variants that end in
``-uneven`` try sizes that are not whole blocks (``_bnb_uneven.py``): a release may be right for
most models, and wrong for some.
"""

# ruff: noqa: ANN401, BLE001 - examined modules have no types, and any error is an answer
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

PROBE = {  # type: Dict[str, Any]
    "name": "bnb_4bit",
    "title": "bitsandbytes nf4 and fp4 weights and Linear4bit",
    "needs": ["torch", "bitsandbytes"],
    "modes": ["run"],
    "seconds": 180,
    "memory_mib": 12288,
    "gpu_mib": 64,
    "imports": ["torch", "bitsandbytes"],
    "quick": False,
    "variants": ["nf4", "fp4", "nf4-double-quant", "nf4-uneven", "fp4-uneven"],
    "tolerance": {"bfloat16": 0.006, "float16": 0.001},
}

TOLERANCE = {"bfloat16": 0.006, "float16": 0.001}
"""Relative error of the product against float64 of the dequantized weight. In bfloat16 rounding to
nearest errs by at most 2**-9 of a value, by about 0.0017 in the mean square: of the result, of the
weight, and in some kernels of the scale and of each product. Twice the mean square of these four
(0.0034) is not reached; of float16, an eighth."""
SIZES = ((17, 64), (100, 1000), (65, 76), (1, 130))
"""Weights, rows by columns: whole blocks; rows that end within one; a last one not full; one row.
Some releases refuse some of these on a CPU, and say so: there the first one decides."""
ODD_SIZE = (1, 131)
"""An odd count of weights; on a GPU only: on a CPU releases compile code for it, for seconds."""
LAYERS = ((256, 1024, 768), (1, 1280, 512), (17, 1000, 300), (17, 1280, 320), (1, 100, 65))
"""Rows, depth, columns: plain; one row, which has a kernel of its own; depths within a block."""
CHECKED_ROWS = 64
NESTED, UNEVEN = "double-quant", "uneven"
"""What variants do beside the plain one."""


def phase(text: str) -> None:
    """Say what is under way; the harness puts its own in this place."""


def run(request: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
    """Yield one outcome a variant, of the GPU asked for or of the CPU."""
    made, bnb, api = _beside("_outcomes"), _beside("_bnb"), _beside("_torch")
    for variant in PROBE["variants"]:
        fields: Dict[str, Any] = {"variant": variant}
        try:
            phase("importing torch")
            torch = importlib.import_module("torch")
            api.keep_small()
            index = int(request.get("device") or 0)
            fields["device"], fields["evidence"] = api.device(torch, index)
            phase("importing bitsandbytes")
            module = bnb.imported(made)
            phase(variant)
            torch.manual_seed(8)
            api.start_afresh(torch)  # what the variant before left adds to the 64 MiB
            with torch.no_grad(), api.current(torch, fields["device"]):
                yield _examined(made, torch, module, fields)
        except (Exception, SystemExit) as error:
            yield made.from_error(error, **fields)


def _examined(made: Any, torch: Any, module: Any, fields: Dict[str, Any]) -> Dict[str, Any]:
    bnb, where, variant = _beside("_bnb"), fields["device"], fields["variant"]
    if not hasattr(module.functional, "quantize_4bit"):
        raise made.Skipped("not-shipped", "this bitsandbytes has no 4-bit weights")
    kind, _, how = variant.partition("-")
    setting = _beside("_bnb_weights").Setting(kind, how == NESTED, _half(torch, where), where)
    if how == UNEVEN:
        return _uneven(torch, module, setting, fields)
    phase("quantizing {} on {}".format(variant, where))
    with bnb.noted_calls() as packing:
        code, trouble = _read_back(torch, module, setting, fields)
    fields["path_taken"] = bnb.called(packing)
    if trouble:
        return made.outcome("wrong", trouble, code=code, **fields)
    phase("multiplying by Linear4bit ({}) on {}".format(variant, where))
    with bnb.noted_calls() as calls:
        errors, single, trouble = _products(torch, module, setting, fields)
    fields["path_taken"] = "{}; Linear4bit: {}".format(bnb.called(packing), bnb.called(calls))
    if trouble is None and where != "cpu":
        trouble = _slow(module, packing, single)
    if trouble:
        return made.outcome("wrong", trouble, code="silent-slow-path", **fields)
    fields["numbers"] = {
        "rel_error": errors[0][1],
        "max_rel_error": bnb.largest([product for product, _weight in errors]),
        "tolerance": TOLERANCE[str(setting.dtype).split(".")[-1]],
    }
    phase("timing on " + where)
    _time(torch, module, setting, fields)
    return _judged(made, fields)


def _uneven(torch: Any, module: Any, setting: Any, fields: Dict[str, Any]) -> Dict[str, Any]:
    phase("trying uneven sizes ({}) on {}".format(setting.kind, setting.where))
    tolerance = TOLERANCE[str(setting.dtype).split(".")[-1]]
    bnb, uneven = _beside("_bnb"), _beside("_bnb_uneven")
    with bnb.noted_calls() as calls:
        outcome: Dict[str, Any] = uneven.examined(torch, module, setting, fields, tolerance)
    numbers = dict(outcome["numbers"], gpu_mib=_beside("_torch").gpu_mib(torch))
    return dict(outcome, numbers=numbers, path_taken=bnb.called(calls))


def _judged(made: Any, fields: Dict[str, Any]) -> Dict[str, Any]:
    numbers = fields["numbers"]
    worst, allowed = numbers["max_rel_error"], numbers["tolerance"]
    detail = (
        "levels as published; product within {:.5f} of float64 of the dequantized weight, at most "
        "{} allowed; within {:.3f} of the unquantized"
    ).format(worst, allowed, numbers["rel_error"])
    if worst <= allowed:  # False for NaN
        return made.outcome("passed", detail, **fields)
    return made.outcome("wrong", detail, code="wrong-value", **fields)


def _slow(module: Any, packing: Dict[str, int], single: Dict[str, int]) -> Optional[str]:
    """Say which part of the work native kernels did not do, though the release has them.

    ``packing`` are the calls to pack and unpack weights, ``single`` those for a layer of one row.
    """
    for name in ("cquantize_blockwise", "cdequantize_blockwise"):
        if not any(one.startswith(name) for one in packing):
            return "no native {}* was called to pack and unpack the weight".format(name)
    fused = any(one.startswith("cgemm_4bit") for one in single)
    if hasattr(module.functional, "gemv_4bit") and not fused:
        text = "one row did not go through the 4-bit product kernel (cgemm_4bit*), but: {}"
        return text.format(_beside("_bnb").called(single))
    return None


def _half(torch: Any, where: str) -> Any:
    if where == "cpu" or _beside("_torch").has_bf16(torch):
        return torch.bfloat16
    return torch.float16


def _read_back(
    torch: Any, module: Any, setting: Any, fields: Dict[str, Any]
) -> Tuple[str, Optional[str]]:
    """Quantize float32 weights and read them back: (code, what is wrong with the values)."""
    for size in SIZES if setting.where == "cpu" else (*SIZES, ODD_SIZE):
        weight = torch.randn(size).to(setting.where)
        try:
            code, trouble = _one_read_back(torch, module, weight, setting)
        except (AssertionError, RuntimeError) as error:
            _note_refusal(fields, error, "{} x {}".format(*size), first=size == SIZES[0])
            continue
        if trouble:
            return code, "{} x {}: {}".format(size[0], size[1], trouble)
    return "", None


def _one_read_back(torch: Any, module: Any, weight: Any, setting: Any) -> Tuple[str, Optional[str]]:
    packed, state = module.functional.quantize_4bit(
        weight,
        blocksize=_beside("_bnb_weights").BLOCK,
        compress_statistics=setting.nested,
        quant_type=setting.kind,
    )
    got = module.functional.dequantize_4bit(packed, state)
    other = _beside("_bnb").not_kept(torch, got, setting.where, torch.float32)
    if other:
        return "silent-slow-path", other
    taken = packed.numel() * packed.element_size()
    if taken != -(-weight.numel() // 2):
        text = "{} weights take {} bytes, not half a byte each"
        return "silent-slow-path", text.format(weight.numel(), taken)
    trouble = _beside("_bnb_weights").off(
        torch, weight.cpu(), got.cpu().reshape(weight.shape), setting
    )
    return "wrong-value", trouble


def _note_refusal(fields: Dict[str, Any], error: Exception, what: str, *, first: bool) -> None:
    """Keep a release's words where it takes no such size on a CPU; raises them anywhere else."""
    if first or fields["device"] != "cpu":
        raise error
    text = "{} on the CPU: {}: {}".format(what, type(error).__name__, error)
    fields["evidence"] = [*fields["evidence"], text]


def _products(
    torch: Any, module: Any, setting: Any, fields: Dict[str, Any]
) -> Tuple[List[Tuple[float, float]], Dict[str, int], Optional[str]]:
    """Multiply LAYERS: errors against the dequantized and the plain weight; what one row called."""
    bnb = _beside("_bnb")
    errors: List[Tuple[float, float]] = []
    single: Dict[str, int] = {}
    for rows, depth, columns in LAYERS:
        x, weight, bias = _beside("_bnb_weights").data(torch, (rows, depth, columns), setting)
        try:
            layer = _beside("_bnb_weights").layer(torch, module, (weight, bias), setting)
            dequantized = _beside("_bnb_weights").dequantized(module, layer, (columns, depth))
            with bnb.noted_calls() as calls:
                got = layer(x)
        except (AssertionError, RuntimeError) as error:
            what = "Linear4bit {} -> {}".format(depth, columns)
            _note_refusal(fields, error, what, first=not errors)
            continue
        if rows == 1 and depth % _beside("_bnb_weights").BLOCK == 0:
            single = calls
        other = bnb.not_kept(torch, got, setting.where, setting.dtype)
        if other:
            return errors, single, other
        against = [bnb.product(x, one, bias) for one in (dequantized, weight)]
        errors.append((bnb.relative_error(got, against[0]), bnb.relative_error(got, against[1])))
    return errors, single, None


def _time(torch: Any, module: Any, setting: Any, fields: Dict[str, Any]) -> None:
    """Time the forward on the product that all are timed on; check some of its rows as well.

    One row, which decoding consists of, is timed beside it.
    """
    api, bnb, where = _beside("_torch"), _beside("_bnb"), setting.where
    shape = api.timed_shape(where)
    x, weight, bias = _beside("_bnb_weights").data(torch, shape, setting)
    layer = _beside("_bnb_weights").layer(torch, module, (weight, bias), setting)
    wanted = bnb.product(x[:CHECKED_ROWS], weight, bias)
    fields["numbers"]["timed_rel_error"] = bnb.relative_error(layer(x)[:CHECKED_ROWS], wanted)
    for name, rows in (("milliseconds", x), ("milliseconds_one_row", x[:1])):
        fields["numbers"][name] = api.timed_on(torch, where, lambda rows=rows: layer(rows))
    fields["numbers"].update(api.shape_numbers(shape), gpu_mib=api.gpu_mib(torch))


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
