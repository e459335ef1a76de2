"""A selected backend: why it is it, and how it is applied to a model."""

# ruff: noqa: PLC0415 - an answer that was kept is read in milliseconds: nothing else is loaded
from __future__ import annotations

TYPE_CHECKING = False  # as typing's, without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike
    from typing import Any

    from qdoctor.backends.kind import Kind
    from qdoctor.backends.replacing import Replaced
    from qdoctor.choosing.cache_reading import Kept
    from qdoctor.model import Verdict

_VERDICT = (
    *("backend", "usable", "reason", "rule", "rel_error", "milliseconds"),
    *("speedup_vs_half", "weight_bytes_per_param"),
)


class Backend:
    """The quantization backend to use here; ``name`` is None where not even half works.

    Made by ``qdoctor.select_backend``. It holds for one kind of GPU, or for the CPU.
    """

    __slots__ = ("_kept", "_selection", "name")

    def __init__(self, kept: Kept) -> None:
        """``kept`` is the selection as it is kept: the name, and the rest as JSON."""
        self._kept = kept
        self._selection: dict[str, Any] | None = None
        self.name: str | None = kept.selected

    def __repr__(self) -> str:
        """Name it; ``explain()`` says more."""
        return f"<qdoctor backend {self.name}>"

    @property
    def selection(self) -> dict[str, Any]:
        """All that was asked, measured and decided, as plain values (``qdoctor/selection/1``)."""
        if self._selection is None:
            import json

            self._selection = json.loads(self._kept.body)
        return self._selection

    @property
    def verdict(self) -> Verdict | None:
        """What was found of this backend here; None where there is none to use."""
        from qdoctor.model import Verdict, from_plain

        own = self._candidate(self.name)
        if own is None:
            return None
        device = self.selection["device"]["name"] if self.selection["measured"] else None
        plain = {field: own.get(field) for field in _VERDICT}
        return from_plain({**plain, "measured_on": device}, Verdict, "selection")

    def explain(self) -> str:
        """Say why this backend, and why not each of the others, in lines for people."""
        from qdoctor.choosing.explained import explained

        return explained(self.selection)

    def quantize_(
        self,
        model: Any,  # noqa: ANN401
        include: Sequence[str] | None = None,
        skip: Sequence[str] | None = None,
        *,
        training: bool | None = None,
    ) -> Replaced:
        """Replace a torch model's ``nn.Linear`` layers in place; say which, and why others not.

        ``include`` and ``skip`` are names, last parts or patterns of dotted module names.
        ``training`` makes layers whose weights can be trained; None: where it was selected for
        training. Raises ``BackendUnavailable``, with the model as it was, where this backend cannot
        do it; ``ValueError`` for names that are none in this model, ``TypeError`` for what is no
        model.
        """
        from qdoctor.backends.replacing import quantize_

        return quantize_(
            model, self._kind(), include=include, skip=skip, training=self._trains(training)
        )

    def linear(  # noqa: PLR0913 - as torch.nn.Linear, and training
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,  # noqa: FBT001, FBT002 - as torch.nn.Linear has it
        *,
        device: Any = None,  # noqa: ANN401
        dtype: Any = None,  # noqa: ANN401
        training: bool | None = None,
    ) -> Any:  # noqa: ANN401 - a torch.nn.Module
        """Make a layer of this backend as ``torch.nn.Linear`` is made; ``training`` as above."""
        trains = self._trains(training)
        return self._kind().linear(
            in_features, out_features, bias, device=device, dtype=dtype, training=trains
        )

    def transformers_config(self, skip: Sequence[str] = ()) -> Any | None:  # noqa: ANN401
        """Return the ``quantization_config`` for ``from_pretrained`` that does the same.

        ``skip`` names the modules to leave alone, as for ``quantize_``. None where transformers has
        none for it: load the model as it is and use ``quantize_``.
        """
        return self._kind().transformers_config(skip)

    def export(self, path: str | PathLike[str]) -> None:
        """Write the decision to a file, for hosts that may not measure: ``QDOCTOR_SELECTION``.

        Raises ``BadInput`` where it cannot be written.
        """
        from qdoctor.choosing.exported import export

        export(self.selection, path)

    def required(self, name: str) -> Backend:
        """Return this answer with ``name`` instead of the backend that was selected.

        Raises ``BackendUnavailable``, saying why and what fixes it, where it does not work here;
        ``BadInput`` for a name that no backend has.
        """
        from qdoctor.backends import NAMES
        from qdoctor.choosing.request import refuse_unknown
        from qdoctor.choosing.required import required

        refuse_unknown([name], NAMES, "backend")
        return Backend(required(self.selection, name))

    def _trains(self, said: bool | None) -> bool:  # noqa: FBT001
        if said is None:
            return bool(self.selection["asked"]["training"])
        from qdoctor.choosing.request import yes_or_no

        return yes_or_no(said, "training")

    def _candidate(self, name: str | None) -> dict[str, Any] | None:
        every = self.selection["candidates"]
        return next((one for one in every if one["backend"] == name), None)

    def _kind(self) -> Kind:
        from qdoctor.backends import BackendUnavailable, named

        if self.name is None:
            raise BackendUnavailable(f"no backend is selected: {self.selection['reason']}")
        return named(self.name)
