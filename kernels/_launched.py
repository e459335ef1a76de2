"""Launch a Triton kernel again without what Triton prepares anew each time.

JITFunction.run binds, classifies and looks up its arguments at every call; for arguments of one
kind the answer is the same. What it gives back, a compiled kernel, can be launched by itself. Where
that takes other arguments than here (it has changed from release to release), nothing is gained
and every launch goes the long way. Standard library only at import. Loaded by path.
"""

# ruff: noqa: ANN401 - Triton's kernels have no types

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Hashable, NamedTuple, Optional, Tuple

REMEMBERED = 4096


class Plan(NamedTuple):
    """How a kernel is launched: number of programs, its constexprs in order (last), warps, more."""

    programs: int
    constants: Tuple[Any, ...]
    warps: int
    options: Tuple[Tuple[str, Any], ...] = ()


class Launcher:
    """A jitted kernel without side effects, so that a trial launch may repeat one.

    ``launcher(key, arguments, plan)``: the key, a tuple, must tell apart whatever Triton compiles
    or grids differently: first the index of the current device, then dtypes, addresses that are
    multiples of 16 or not, and every number of the plan and of the integer arguments. ``plan()`` is
    asked where the key is new.
    """

    def __init__(self, kernel: Any) -> None:
        """Wrap a triton.JITFunction."""
        self.kernel = kernel
        self._ready: Dict[Hashable, Tuple[Any, Tuple[Any, ...]]] = {}
        self._again = True
        self._torch = importlib.import_module("torch")
        private = self._torch._C  # noqa: SLF001 - where Triton asks for the stream
        self._stream = getattr(private, "_cuda_getCurrentRawStream", _unknown)

    def __call__(
        self, key: Tuple[Any, ...], arguments: Tuple[Any, ...], plan: Callable[[], Plan]
    ) -> None:
        """Launch on the current device and stream."""
        if key[0] not in _here.devices:
            _enter(key[0])
        ready = self._ready.get(key)
        if ready is not None:
            ready[0](*arguments, *ready[1], stream=self._stream(key[0]))
            return
        with _settling:  # Triton gives a kernel to one thread while another still loads it
            ready = self._ready.get(key)
            if ready is None:
                self._at_length(key, arguments, plan())
        if ready is not None:
            ready[0](*arguments, *ready[1], stream=self._stream(key[0]))

    def _at_length(self, key: Tuple[Any, ...], arguments: Tuple[Any, ...], made: Plan) -> None:
        compiled = self.kernel[(made.programs,)](
            *arguments, *made.constants, num_warps=made.warps, **dict(made.options)
        )
        if self._again and compiled is not None and not self._capturing():
            self._remember(key, compiled, arguments, made)

    def ready(self, key: Tuple[Any, ...]) -> Optional[Tuple[Any, Tuple[Any, ...]]]:
        """Return what launches again for a key, and the constants it takes last; None: unknown yet.

        It takes the arguments, the constants, and ``stream=``; addresses serve as tensors.
        """
        return self._ready.get(key)

    def _capturing(self) -> bool:
        return bool(self._torch.cuda.is_current_stream_capturing())

    def _remember(self, key: Tuple[Any, ...], compiled: Any, arguments: Any, made: Plan) -> None:
        try:
            launch = compiled[(made.programs, 1, 1)]
            launch(*arguments, *made.constants, stream=self._stream(key[0]))
        except Exception:  # noqa: BLE001 - whatever it says, it is not launched so here
            self._again = False
            return
        if len(self._ready) >= REMEMBERED:  # shapes are ever new
            self._ready.clear()
        self._ready[key] = (launch, made.constants)


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


_here: Any = _beside("_loaded").here
_enter: Any = _beside("_loaded").enter
_settling: Any = _beside("_loaded").settling


def _unknown(_device: int) -> None:
    """The stream is Triton's to find."""


def launchers(sources: Tuple[Callable[..., None], ...]) -> Dict[str, Launcher]:
    """Wrap kernels by their names without the underscore. Imports triton."""
    triton = importlib.import_module("triton")
    return {one.__name__[1:]: Launcher(triton.jit(one)) for one in sources}
