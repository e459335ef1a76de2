"""Which kernels there are and what each needs, read from their headers without importing them."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import msgspec

from qdoctor.shipped import kernels_folder

if TYPE_CHECKING:
    from pathlib import Path

Mode: TypeAlias = Literal["run", "compile"]
Sm: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^\d+\.\d$")]
Positive: TypeAlias = Annotated[int, msgspec.Meta(gt=0)]
Preloadable: TypeAlias = Literal["torch", "triton", "bitsandbytes", "torchao"]


class BadHeader(ValueError):  # noqa: N818 - it names what is wrong with the file
    """A kernel whose PROBE header cannot be used; the text names the file and the reason."""


class Header(msgspec.Struct, frozen=True):
    """The literal ``PROBE`` of a kernel; keys beyond these are the kernel's own.

    ``needs`` names packages, and ``gpu``, without which it cannot run; ``compile_needs`` likewise
    for compiling, which never needs a GPU, and ``cpu_needs`` for running on the CPU of a machine
    without one: None for a kernel that needs no GPU anyway, or that cannot do without. ``sms`` are
    compiled for when no other is asked. ``seconds`` and ``memory_mib`` (in MiB) bound the child;
    ``quick`` puts the kernel into ``--probe quick``. ``imports`` is what it imports that is worth
    importing once for all probes; empty for one that needs none and therefore runs in a light
    interpreter of its own. ``gpu_mib`` states how much GPU memory it stays under, 0 for one that
    uses no GPU and therefore runs once, however many there are; ``cores`` how many cores it keeps
    busy.
    """

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]*$")]
    title: Annotated[str, msgspec.Meta(min_length=1)]
    needs: tuple[str, ...]
    modes: Annotated[tuple[Mode, ...], msgspec.Meta(min_length=1)]
    seconds: Positive
    memory_mib: Positive
    quick: bool
    variants: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    compile_needs: tuple[str, ...] = ()
    cpu_needs: tuple[str, ...] | None = None
    sms: tuple[Sm, ...] = ()
    requires_python: str = ">=3.8"
    imports: tuple[Preloadable, ...] = ()
    gpu_mib: Annotated[int, msgspec.Meta(ge=0)] = 64
    cores: Positive = 1


class Kernel(msgspec.Struct, frozen=True):
    """One kernel: where it lies and what its header says."""

    path: Path
    header: Header

    @property
    def name(self) -> str:
        """The probe's name, which is also its file's."""
        return self.header.name


def read(folder: Path | None = None) -> tuple[Kernel, ...]:
    """Read all kernels of a folder (default: the shipped ones), by name.

    Files whose name begins with ``_`` are parts of kernels. Raises ``BadHeader``.
    """
    files = sorted((folder or kernels_folder()).glob("[!_]*.py"))
    return tuple(Kernel(path, read_header(path)) for path in files)


def names() -> tuple[str, ...]:
    """Return the names of the shipped probes."""
    return tuple(kernel.name for kernel in read())


def read_header(path: Path) -> Header:
    """Read the header of one kernel. Raises ``BadHeader`` naming the file and what is wrong."""
    try:
        header = msgspec.convert(_literal(path), type=Header)
    except msgspec.ValidationError as error:
        raise BadHeader(f"{path}: PROBE: {error}") from error
    if header.name != path.stem:
        raise BadHeader(f"{path}: PROBE names {header.name!r}: a kernel is named after its file")
    if "compile" in header.modes and not header.sms:
        raise BadHeader(f"{path}: PROBE compiles, but says in `sms` for none by default")
    return header


def _literal(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except (OSError, SyntaxError, ValueError) as error:
        raise BadHeader(f"{path}: cannot be read: {error}") from error
    found = [node.value for node in tree.body if isinstance(node, ast.Assign) and _is_probe(node)]
    if len(found) != 1:
        raise BadHeader(f"{path}: has {len(found)} headers `PROBE = {{...}}`; a kernel has one")
    try:
        return ast.literal_eval(found[0])
    except ValueError as error:
        raise BadHeader(f"{path}: PROBE is not a literal, so it cannot be read: {error}") from error


def _is_probe(node: ast.Assign) -> bool:
    return any(isinstance(name, ast.Name) and name.id == "PROBE" for name in node.targets)
