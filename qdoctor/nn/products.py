"""The int8 product that a device really has: tried once on sums that only int32 holds, then used.

On a GPU Triton's product first, if it compiles to int8 tensor-core instructions there, then
cuBLASLt's through ``torch._int_mm``; on the CPU the faster of that and float32 (in pieces of which
it holds every sum exactly), else float64. Nothing here knows releases, GPU models or CPUs: what
works is found out.
"""

# ruff: noqa: ANN401 - torch is untyped here

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import sys
import tempfile
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import torch  # noqa: TID253 - the layers' own package

from qdoctor.shipped import kernels_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

Quantized: TypeAlias = tuple[Any, Any]
"""int8 rows (M x K) and the float32 scale of each (M): a row is about q * scale."""


class NoInt8ProductError(RuntimeError):
    """No int8 matrix product works on this device; the text says what was tried and why not."""


class _NotHereError(Exception):
    """A way to multiply that does not serve here; the text is the reason."""


@dataclass(frozen=True)
class Way:
    """One way to quantize rows and to multiply; ``prove`` raises where it does not serve."""

    name: str
    prove: Callable[[Any], None]
    quantize: Callable[[Any], Quantized]
    multiply: Callable[[Quantized, Quantized, Any, Any], Any]
    linear: Callable[[Any, float, Any, Any, Any], Any] | None = None
    """Quantizes and multiplies: x, steps, int8 weight, its scales, bias or None; None: has none."""


def way_on(device: Any) -> Way:
    """Return the first way that proved itself on the device (a torch.device), trying them once.

    Raises NoInt8ProductError naming every reason; running out of memory is raised as it is.
    """
    known = _proved.get(device)
    if known is None:
        with _trying:  # trying redirects the process' stderr: one thread at a time
            known = _proved.get(device) or _try_all(device)
    if isinstance(known, str):
        raise NoInt8ProductError(known)
    return known


def has_int8_product(device: Any) -> bool:
    """Say whether SwitchBackLinear can multiply int8 matrices on the device (name or object)."""
    try:
        way_on(_full(torch.device(device)))
    except NoInt8ProductError:
        return False
    return True


def _full(device: Any) -> Any:
    if device.type != "cuda" or device.index is not None or not torch.cuda.is_available():
        return device
    return torch.device("cuda", torch.cuda.current_device())


_trying = threading.RLock()
_proved: dict[Any, Way | str] = {}
"""By device: what works there, or the text of the error that says that nothing does."""


def _try_all(device: Any) -> Way | str:
    reasons: list[str] = []
    serving: list[Way] = []
    for way in WAYS:
        if serving and way.name == _plain.LAST_RESORT:
            continue
        reason = _why_not(way, device)
        if reason:
            reasons.append(f"{way.name}: {reason}")
            continue
        serving.append(way)
        if device.type != "cpu":
            break
    if serving:
        _proved[device] = serving[0] if len(serving) == 1 else _fastest(serving)
        return _proved[device]
    _proved[device] = text = (
        f"qdoctor.nn.SwitchBackLinear: no int8 matrix product works on {_named(device)} "
        f"({'; '.join(reasons)}). To work in the input's own precision there, construct the layer "
        'with fallback="half"; `qdoctor check` says which backends this machine has.'
    )
    return text


def _why_not(way: Way, device: Any) -> str:
    """Return why the way does not serve on the device, or ``""``."""
    try:
        way.prove(device)
    except Exception as error:
        if is_shortage(error, device):
            raise  # says nothing about the way
        return _first_line(error)
    return ""


def is_shortage(error: Exception, device: Any) -> bool:
    """Say whether an error tells of a full or busy device only, not of what was tried there.

    Libraries word it in many ways: the probes' own knowledge of them decides.
    """
    outcome = kernel("_outcomes").from_error(error, device=str(device))
    return bool(outcome["outcome"] == "skipped")


def _first_line(error: BaseException) -> str:
    text = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    return text if isinstance(error, _NotHereError) else f"{type(error).__name__}: {text}"


def _named(device: Any) -> str:
    if device.type != "cuda":
        return str(device)
    try:
        major, minor = torch.cuda.get_device_capability(device)
        return f"{device} ({torch.cuda.get_device_name(device)}, SM {major}.{minor})"
    except (AssertionError, RuntimeError):  # no such GPU, or a torch without CUDA: the reasons say
        return str(device)


# Triton


def kernel(name: str) -> ModuleType:
    """Load kernels/<name>.py by its path, once; that folder is on nobody's import path."""
    full = "qdoctor_kernel_" + name
    if full not in sys.modules:
        path = kernels_folder() / f"{name}.py"
        spec = importlib.util.spec_from_file_location(full, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"no such kernel: {path}")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules.setdefault(full, module)  # not before: threads would find it half made
    return sys.modules[full]


def _prove_triton(device: Any) -> None:
    if device.type != "cuda":
        raise _NotHereError(f"no kernels for {device.type}")
    a, b, exact = _demanding(device)
    with _quiet():
        sums, compiled = kernel("_switchback_triton").int8_product(a, b)
    _must_equal(sums, exact)
    if not kernel("_triton").int8_matrix_instruction(compiled.asm.get("ptx", "")):
        raise _NotHereError("compiles, but not to int8 tensor-core instructions")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what native code writes to stderr; let it through unless an error says it better.

    A compiler that refuses an SM prints its whole module there.
    """
    try:
        saved = os.dup(2)
    except OSError:  # a process without stderr
        yield
        return
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except Exception:
            kept.truncate(0)
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            kept.seek(0)
            os.write(2, kept.read())


def _quantize_triton(x: Any) -> Quantized:
    q, scale = kernel("_switchback_quantize").quantize_rows(x)
    return q, scale


def _multiply_triton(a: Quantized, b: Quantized, bias: Any, dtype: Any) -> Any:
    return kernel("_switchback_product").rescaled_product(a, b, bias, dtype)


def _linear_triton(x: Any, steps: float, weight: Any, scale: Any, bias: Any) -> Any:
    return _linear()(x, steps, weight, scale, bias)


@functools.cache
def _linear() -> Callable[..., Any]:
    return kernel("_switchback_linear").linear  # type: ignore[no-any-return]


# Plain torch

_plain = kernel("_switchback_plain")
quantize_plain: Callable[[Any], Quantized] = _plain.quantize_rows
_int_mm, _rescaled, _demanding = _plain.int_mm, _plain.rescaled, _plain.demanding


def _prove_int_mm(device: Any) -> None:
    a, b, exact = _demanding(device)
    _must_equal(_int_mm(a, b), exact)


def _multiply_int_mm(a: Quantized, b: Quantized, bias: Any, dtype: Any) -> Any:
    return _rescaled(_int_mm(a[0], b[0]), a[1], b[1], bias, dtype)


def _prove_float32(device: Any) -> None:
    _prove_float64(device)
    a, b, exact = _demanding(device)
    _must_equal(_plain.in_float32(a, b), exact)


def _multiply_float32(a: Quantized, b: Quantized, bias: Any, dtype: Any) -> Any:
    return _rescaled(_plain.in_float32(a[0], b[0]), a[1], b[1], bias, dtype)


def _prove_float64(device: Any) -> None:
    if device.type != "cpu":
        raise _NotHereError("a way for the CPU")


def _multiply_float64(a: Quantized, b: Quantized, bias: Any, dtype: Any) -> Any:
    return _rescaled(_plain.in_float64(a[0], b[0]), a[1], b[1], bias, dtype)


def _must_equal(sums: Any, exact: Any) -> None:
    if why := _plain.inexact(sums, exact):
        raise _NotHereError(why)


def _fastest(ways: list[Way]) -> Way:
    """Return the way that multiplies in the least time on the CPU, where all are exact."""

    def product(way: Way) -> Callable[[Any, Any], Any]:
        return lambda a, b: way.multiply(
            (a, a[:, 0].float()), (b, b[:, 0].float()), None, torch.float32
        )

    found = _plain.fastest({way.name: product(way) for way in ways})
    return next(way for way in ways if way.name == found)


WAYS = (
    Way("triton", _prove_triton, _quantize_triton, _multiply_triton, _linear_triton),
    Way("torch._int_mm", _prove_int_mm, quantize_plain, _multiply_int_mm),
    Way("float32", _prove_float32, quantize_plain, _multiply_float32),
    Way("float64", _prove_float64, quantize_plain, _multiply_float64),
)
"""In order of preference; on a CPU the faster one is taken, float64 only for lack of others."""
