"""Two small probes that run side by side, one of them to be harmed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from qdoctor.probes import catalog
from qdoctor.probes.engine import carry_out
from qdoctor.probes.patient import Patient
from qdoctor.probes.plan import Step

if TYPE_CHECKING:
    from qdoctor.model import Observation

FOLDER = Path(__file__).parent / "injected"
HARMED, HEALTHY = "cublaslt_igemm", "half_gemm"
TORCH = "2.7.1+cpu"


def write_packages(folder: Path) -> None:
    """Install a ``torch`` with nothing in it: all that a zygote needs to be worth forking from."""
    (folder / "torch").mkdir()
    (folder / "torch" / "__init__.py").write_text("", encoding="utf-8")
    version = f"__version__ = {TORCH!r}\ncuda = None\n"
    (folder / "torch" / "version.py").write_text(version, encoding="utf-8")
    info = folder / f"torch-{TORCH}.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: torch\nVersion: {TORCH}\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")


class Ward:
    """Runs the two probes by one route, one of them harmed."""

    def __init__(self, route: str, packages: Path, mark: str) -> None:
        self.imports = ("torch",) if route == "forked" else ()
        self.environ = {
            **os.environ,
            "PYTHONPATH": str(packages),
            "QDOCTOR_TEST_MARK": mark,
        }

    def step(self, name: str, **changes: Any) -> Step:  # noqa: ANN401 - keys of a header
        path = FOLDER / f"{name}.py"
        header = msgspec.structs.replace(catalog.read_header(path), imports=self.imports, **changes)
        return Step(catalog.Kernel(path, header), "run", device=0)

    def run(self, harm: str = "", seconds: int = 20) -> list[Observation]:
        environ = {**self.environ, "QDOCTOR_INJECT": harm} if harm else self.environ
        steps = [self.step(HARMED, seconds=seconds), self.step(HEALTHY)]
        return carry_out(steps, Patient(sys.executable, environ), lambda _: None)

    def run_alone(self, count: int) -> list[Observation]:
        """Run the healthy probe ``count`` times."""
        steps = [self.step(HEALTHY)] * count
        return carry_out(steps, Patient(sys.executable, self.environ), lambda _: None)

    def run_on_gpus(self, count: int, harm: str) -> list[Observation]:
        """Run the healthy probe on each of ``count`` GPUs, which it does not look at."""
        steps = [msgspec.structs.replace(self.step(HEALTHY), device=at) for at in range(count)]
        environ = {**self.environ, "QDOCTOR_INJECT": harm}
        return carry_out(steps, Patient(sys.executable, environ), lambda _: None)
