"""SwitchBack's product by the best that there is for a shape on a GPU: Hopper's own, or Triton's.

What that is and how it is cut is data (_switchback_tiles.py); a launch that comes again goes
straight to the compiled kernel. Python 3.8 syntax, standard library only at import; torch and
triton when called. Loaded by path.
"""

# ruff: noqa: ANN401, PLR0913, PLR0917 - torch is untyped here, and a launch takes what it takes

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple

REMEMBERED = 4096
Quantized = Tuple[Any, Any]
Launch = Callable[[Any, Any, Any, Any, Any, Any], Any]
"""Launches for: int8 a, its scales, int8 b, its scales, bias or None, c."""
ByAddress = Callable[[int, int, int, int, Optional[int], int, int], None]
"""Does so for their addresses, on a stream."""


class Kind(NamedTuple):
    """What a launch depends on.

    device: the GPU's index, -1 on the CPU (Triton's interpreter); each: b has a scale for every
    column; aligned: all pointers are multiples of 16.
    """

    device: int
    rows: int
    depth: int
    columns: int
    dtype: Any
    bias: Any
    each: bool
    aligned: bool


def forward(x: Any, weight: Any, bias: Optional[Any]) -> Any:
    """Compute x (M x K) times weight (N x K) transposed plus bias, in x's dtype."""
    quantize_rows = _beside("_switchback_quantize").quantize_rows
    return rescaled_product(quantize_rows(x), quantize_rows(weight), bias, x.dtype)


def rescaled_product(a: Quantized, b: Quantized, bias: Optional[Any], dtype: Any) -> Any:
    """Multiply int8 a (M x K) by int8 b (N x K) transposed, rescale, add the bias: dtype M x N.

    Each comes with float32 scales: a with M, b with N or with one. bias has N numbers or is None.
    Everything is contiguous and on one device; no size is 0.
    """
    (left, scale_a), (right, scale_b) = a, b
    rows, depth = left.shape
    columns = right.shape[0]
    torch = sys.modules["torch"]  # left is a tensor
    c = torch.empty(rows, columns, dtype=dtype, device=left.device)
    pointers = left.data_ptr() | right.data_ptr() | scale_a.data_ptr() | scale_b.data_ptr()
    plus = None
    if bias is not None:
        plus = bias.dtype
        pointers |= bias.data_ptr()
    index = left.get_device()
    each = scale_b.shape[0] == columns
    kind = (index, rows, depth, columns, dtype, plus, each, pointers % 16 == 0)
    launch = _known.get(kind)
    if index < 0 or index == torch.cuda.current_device():
        (launch or _chosen(Kind(*kind)))(left, scale_a, right, scale_b, bias, c)
    else:
        with torch.cuda.device(index):
            (launch or _chosen(Kind(*kind)))(left, scale_a, right, scale_b, bias, c)
    return c


def by_address(kind: Kind) -> Optional[ByAddress]:
    """Return what launches products of a kind without looking at tensors, once one was launched.

    None where that is not to be had. The device must be current.
    """
    launch = _known.get(tuple(kind))
    found: Optional[ByAddress] = launch.by_address() if launch is not None else None  # type: ignore[attr-defined]
    return found


def why_not(index: int) -> str:
    """Say why Hopper's own product does not serve on a GPU where it was wanted, or ``""``."""
    return _refused.get(index, "")


def has_own(index: int) -> bool:
    """Say whether Hopper's own product has multiplied on a GPU, not only Triton's."""
    return any(key[0] == index for key in _kernels)


_known: Dict[Tuple[Any, ...], Launch] = {}
_kernels: Dict[Tuple[Any, ...], Any] = {}
_refused: Dict[int, str] = {}


def _chosen(kind: Kind) -> Launch:
    """Choose the launch for what _known does not know yet; the device is current."""
    choice = _beside("_switchback_tiles").NOTHING_KNOWN
    if kind.device >= 0:
        sm, processors = device(kind.device)
        shape = (kind.rows, kind.depth, kind.columns)
        choice = _beside("_switchback_tiles").choose(sm, shape, processors)
    launch = _hopper(kind, choice)
    if launch is None:
        launch = _triton(kind, choice)
        if choice.cut and kind.device not in _refused and capturing():
            return launch  # the better one is compiled once no graph is being captured
    if len(_known) >= REMEMBERED:
        _known.clear()
    _known[tuple(kind)] = launch
    return launch


def _hopper(kind: Kind, choice: Any) -> Optional[Launch]:
    """Return a launch of Hopper's own product, where that is the choice and serves."""
    if choice.cut is None or not kind.aligned or kind.device in _refused:
        return None
    hopper = _beside("_switchback_hopper")
    out, bias = name(kind.dtype), name(kind.bias)
    if not hopper.takes(kind.depth, kind.columns, out, bias):
        return None
    key = (kind.device, choice.cut, out, bias)
    if key not in _kernels and not capturing():
        with _settling:  # another thread may have proven it meanwhile
            if key not in _kernels and kind.device not in _refused:
                _prove(key, choice.arch)
    kernel = _kernels.get(key)
    return None if kernel is None else _Hopper(kernel, kind)


def _prove(key: Tuple[Any, ...], arch: str) -> None:
    """Make a kernel of Hopper's own product, or note why it does not serve."""
    hopper = _beside("_switchback_hopper")
    index, cut, out, bias = key
    try:
        _kernels[key] = hopper.proven(hopper.Cut(*cut), out, bias, index, arch)
    except sys.modules["torch"].cuda.OutOfMemoryError:
        pass  # says nothing about it
    except hopper.NotHereError as error:
        _refused[index] = str(error)


class _Hopper:
    """A launch of Hopper's own product."""

    def __init__(self, kernel: Any, kind: Kind) -> None:
        self._kernel, self._index, self._stream = kernel, kind.device, raw_stream()
        self._shape = (kind.rows, kind.depth, kind.columns)
        self._step = int(kind.each)

    def __call__(self, a: Any, scale_a: Any, b: Any, scale_b: Any, bias: Any, c: Any) -> None:
        self._kernel(a, scale_a, b, scale_b, bias, c, self._stream(self._index))

    def by_address(self) -> Optional[ByAddress]:
        """Return what launches it without looking at tensors."""
        start, shape, step = self._kernel.start, self._shape, self._step

        def launch(
            a: int, scale_a: int, b: int, scale_b: int, bias: Optional[int], c: int, stream: int
        ) -> None:
            start(shape, (a, b, c), (scale_a, scale_b, step), bias, stream)

        return launch


def _triton(kind: Kind, choice: Any) -> Launch:
    """Return a launch of Triton's product, by the tiles of the choice or safe ones."""
    ours = _beside("_switchback_triton")
    limit = ours.shared_limit(kind.device)
    tiles = ours.Tiles(*choice.tiles) if choice.tiles else None
    if tiles is None or tiles.shared_bytes > limit:
        tiles = ours.fitting(kind.rows, limit)
    return _Triton(kind, tiles, overlap=choice.overlap and ours.overlaps())


class _Triton:
    """A launch of Triton's product."""

    def __init__(self, kind: Kind, tiles: Any, *, overlap: bool) -> None:
        self._ours, self._tiles, self._overlap = _beside("_switchback_triton"), tiles, overlap
        self._sizes = (kind.rows, kind.columns, kind.depth, int(kind.each))
        self._key = tuple(kind) if kind.aligned else None

    def __call__(self, a: Any, scale_a: Any, b: Any, scale_b: Any, bias: Any, c: Any) -> None:
        arguments = (a, b, c, scale_a, scale_b, bias, *self._sizes)
        self._ours.launch(self._key, arguments, self._tiles, overlap=self._overlap)

    def by_address(self) -> Optional[ByAddress]:
        """Return what launches it without looking at tensors; None where Triton must look."""
        ready = None if self._key is None else self._ours.ready(self._key)
        if ready is None:
            return None
        start, constants = ready
        more = (*self._sizes, *constants)

        def launch(
            a: int, scale_a: int, b: int, scale_b: int, bias: Optional[int], c: int, stream: int
        ) -> None:
            start(a, b, c, scale_a, scale_b, a if bias is None else bias, *more, stream=stream)

        return launch


def name(dtype: Any) -> Optional[str]:
    """Return torch's name of a dtype, such as ``bfloat16``; None for None."""
    return None if dtype is None else str(dtype).rpartition(".")[2]


def device(index: int) -> Tuple[str, int]:
    """Return a GPU's SM, such as ``9.0``, and how many multiprocessors it has."""
    properties = sys.modules["torch"].cuda.get_device_properties(index)
    sm = "{}.{}".format(properties.major, properties.minor)
    return sm, int(properties.multi_processor_count)


def capturing() -> bool:
    """Say whether the current stream records a CUDA graph: nothing may be waited for then."""
    return bool(sys.modules["torch"].cuda.is_current_stream_capturing())


def raw_stream() -> Callable[[int], int]:
    """Return what gives the handle of a GPU's current stream; torch's own compiler uses it."""
    torch = sys.modules["torch"]
    raw = getattr(torch._C, "_cuda_getCurrentRawStream", None)  # noqa: SLF001
    return raw or (lambda index: torch.cuda.current_stream(index).cuda_stream)


def _beside(name: str) -> Any:
    """Load the kernel file of that name in this folder, once."""
    module = sys.modules.get("qdoctor_kernel_" + name)
    if module is None:
        path = Path(__file__).resolve().with_name(name + ".py")
        spec = importlib.util.spec_from_file_location("qdoctor_kernel_" + name, str(path))
        module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
        spec.loader.exec_module(module)  # type: ignore[union-attr]
        # Not before: another thread would find it half made. If both make it, the first is it.
        module = sys.modules.setdefault(module.__name__, module)
    return module


_settling: Any = _beside("_loaded").settling
