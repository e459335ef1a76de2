"""The nouns that flow through the doctor, all frozen, to and from JSON.

A fact is read without running anyone's code; an observation is what happened when a kernel ran;
a finding is our opinion. ``None`` means unknown everywhere; an empty list or ``""`` means known to
be none.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from qdoctor.noun import BadInput as BadInput
from qdoctor.noun import NoInterpreter as NoInterpreter
from qdoctor.noun import Noun as Noun
from qdoctor.noun import YesNo as YesNo
from qdoctor.noun import encoded as encoded
from qdoctor.noun import from_json as from_json
from qdoctor.noun import from_plain as from_plain
from qdoctor.noun import to_json as to_json
from qdoctor.noun import to_plain as to_plain
from qdoctor.selected import SELECTION_SCHEMA as SELECTION_SCHEMA
from qdoctor.selected import Asked as Asked
from qdoctor.selected import Candidate as Candidate
from qdoctor.selected import Measure as Measure
from qdoctor.selected import Objective as Objective
from qdoctor.selected import SelectedFor as SelectedFor
from qdoctor.selected import Selection as Selection
from qdoctor.selected import Shape as Shape
from qdoctor.selected import Timed as Timed

FACTS_SCHEMA = "qdoctor/facts/1"
REPORT_SCHEMA = "qdoctor/report/1"
NO_FOLDER = "env.TMPDIR"
"""The key of ``Facts.unread`` under which it says why an interpreter could not even be asked."""

OutcomeKind: TypeAlias = Literal["passed", "wrong", "failed", "crashed", "timed-out", "skipped"]
Expected: TypeAlias = Literal["pass", "fail", "unknown"]
Severity: TypeAlias = Literal["error", "warning", "note"]
Strength: TypeAlias = Literal["documented", "mined", "inspected", "observed"]
When: TypeAlias = Literal["import", "later", "guarded"]
Applicability: TypeAlias = Literal["safe", "unsafe", "display-only"]
Action: TypeAlias = Literal[
    "change-code",
    "change-hardware",
    "copy",
    "disable",
    "downgrade",
    "ignore",
    "install",
    "install-build",
    "install-matching",
    "install-system",
    "none",
    "rebuild",
    "reinstall",
    "reorder",
    "restart-kernel",
    "run",
    "set-env",
    "symlink",
    "uninstall",
    "unset-env",
    "upgrade",
    "upgrade-driver",
    "upgrade-os",
    "use",
    "use-python",
]


class Host(Noun, frozen=True):
    """The machine under the interpreter.

    ``os`` is linux, windows or macos; ``machine`` x86_64, aarch64, arm64 ...; ``libc`` such as
    ``glibc 2.35`` or ``musl 1.2``; ``container`` the kind (docker, podman ...), ``""`` for none;
    ``glibcxx`` the newest symbol version of the libstdc++ that the interpreter would load;
    ``cpu_features`` the vector extensions of an x86 CPU by which libraries choose their code, by
    Linux's names (``avx2``, ``avx512f``, ``avx512_bf16``, ``amx_tile``).
    """

    os: str | None = None
    machine: str | None = None
    libc: str | None = None
    wsl: bool | None = None
    container: str | bool | None = None
    c_compiler: bool | None = None
    glibcxx: str | None = None
    cpu_features: list[str] | None = None


class Python(Noun, frozen=True):
    """The examined interpreter: ``headers`` says whether Python.h can be included.

    ``manager`` is the tool that manages its environment: pip, uv, conda, mamba, micromamba, poetry
    or pixi; ``project`` the folder whose lock file that tool keeps it to; ``externally_managed``
    says that it is the operating system's, into which pip refuses to install (PEP 668).
    """

    version: str | None = None
    executable: str | None = None
    prefix: str | None = None
    base_prefix: str | None = None
    headers: bool | None = None
    manager: str | None = None
    project: str | None = None
    externally_managed: bool | None = None


class Driver(Noun, frozen=True):
    """The GPU driver; ``cuda`` is the newest CUDA version it supports by itself.

    ``compat_cuda`` is the CUDA version of an active cuda-compat package, which lifts that ceiling;
    ``""`` for none. ``libcuda`` is the file that the examined process would load as libcuda.so.1,
    ``""`` for none; ``libcuda_elsewhere`` one that lies where the loader does not look.
    """

    version: str | None = None
    cuda: str | None = None
    compat_cuda: str | None = None
    libcuda: str | None = None
    libcuda_elsewhere: str | None = None


class Gpu(Noun, frozen=True):
    """One device, in the order in which the examined process would number it.

    ``sm`` is the compute capability, ``"8.6"``; ``memory_mib`` its total memory in MiB; ``mig`` the
    profile of a MIG slice, or whether MIG is on; ``visible`` is False when it cannot be used here;
    ``arch`` names the architecture of other vendors (``gfx1101``).
    """

    index: int | None = None
    name: str | None = None
    sm: str | None = None
    memory_mib: int | None = None
    vendor: str | None = None
    mig: str | bool | None = None
    compute_mode: str | None = None
    visible: bool | None = None
    arch: str | None = None


class NativeLibrary(Noun, frozen=True):
    """One native library of a package: SMs and PTX it holds, the sonames it needs.

    ``file`` is its name, ``""`` where a package is known to have no native library at all;
    ``glibc`` and ``glibcxx`` are the newest symbol versions asked for; ``ptx_isa`` the newest PTX
    ISA version of each SM's PTX (``{"sm_90": "8.7"}``). ``resolved`` says which file the loader
    would take for each CUDA library that is needed, ``""`` for none, and names every other need
    that resolves nowhere; ``shadowed`` names the copy that the library would find by itself, where
    another one is loaded before it.
    """

    package: str | None = None
    file: str | None = None
    sm: list[str] | None = None
    ptx: list[str] | None = None
    needs: list[str] | None = None
    glibc: str | None = None
    path: str | None = None
    glibcxx: str | None = None
    ptx_isa: dict[str, str] | None = None
    resolved: dict[str, str] | None = None
    shadowed: dict[str, str] | None = None


class FoundPackage(Noun, frozen=True):
    """A copy of a package on the import path, in import order (the first one is imported)."""

    name: str
    version: str | None = None
    file: str | None = None


class TritonUse(Noun, frozen=True):
    """Names of triton that one file of an installed package uses, each with the line.

    A name is given once a package, where it is reached first. ``when``: ``import`` where importing
    the package asks for it and nothing catches its absence; ``later`` where calling a function,
    compiling a kernel or importing a further module does; ``guarded`` where code looks before.
    """

    package: str
    file: str
    names: dict[str, int]
    when: When


class Facts(Noun, frozen=True):
    """What can be read without running third-party code (``qdoctor/facts/1``)."""

    schema: Literal["qdoctor/facts/1"] | None = None
    host: Host | None = None
    python: Python | None = None
    packages: dict[str, str] | None = None
    packages_found: list[FoundPackage] | None = None
    requires: dict[str, list[str]] | None = None
    """Requires-Dist of the installed torch, triton and bitsandbytes, as METADATA states it."""
    torch_cuda: str | None = None
    torch_arch_list: list[str] | None = None
    toolkit_cuda: str | None = None
    driver: Driver | None = None
    gpus: list[Gpu] | None = None
    env: dict[str, str] | None = None
    native: list[NativeLibrary] | None = None
    unread: dict[str, str] | None = None
    """Why a fact that was looked for stays unknown: key path -> reason."""
    triton_names: list[TritonUse] | None = None
    """Names of triton that installed packages use, read from their Python files."""
    triton_has: dict[str, bool] | None = None
    """Which of those names the installed triton's own files have, where they were looked up."""


class Target(Noun, frozen=True, omit_defaults=False):
    """What is examined, and how it was chosen."""

    kind: Literal["interpreter", "described"]
    chosen_by: str
    python: str | None = None
    assumptions: list[str] = []
    """Said in the report: a GPU only named, a driver taken to be new enough, planned packages."""


class Observation(Noun, frozen=True, omit_defaults=False):
    """What happened when a probe ran in a child process.

    ``outcome`` is closed; ``code`` is a short machine-readable reason beside a non-passed outcome
    (``library-missing``, ``not-supported`` ...); ``ran`` is False when code was only compiled;
    ``numbers`` holds max_rel_error, tolerance, milliseconds, ... ; ``device`` is ``cuda:0``,
    ``cpu`` or ``sm_70``.
    """

    probe: str
    outcome: OutcomeKind
    variant: str | None = None
    device: str | None = None
    expected: Expected = "unknown"
    detail: str = ""
    code: str | None = None
    ran: bool = True
    numbers: dict[str, float] = {}
    path_taken: str | None = None
    evidence: list[str] = []


class Because(Noun, frozen=True):
    """One reason: what is so, where that was read, and how strong the reading is."""

    text: str
    source: str
    strength: Strength


class Fix(Noun, frozen=True):
    """What to change, the command that does it, how to verify it; absent where not applicable."""

    action: Action
    why: str
    applicability: Applicability = "display-only"
    package: str | None = None
    spec: str | None = None
    backend: str | None = None
    name: str | None = None
    value: str | None = None
    index: str | None = None
    command: str | None = None
    verify: str | None = None


class MissingFact(Noun, frozen=True):
    """A fact that is unknown: its key in the facts' JSON, and the command that tells it."""

    fact: str
    how: str


class Finding(Noun, frozen=True, omit_defaults=False):
    """Our opinion. ``affects`` names the needs (backend, gpu, probe) that this takes away."""

    rule: str
    severity: Severity
    title: str
    because: list[Because] = []
    fixes: list[Fix] = []
    explains_error: bool = False
    affects: list[str] = []
    symptom_of: str | None = None
    undecided: str | None = None
    """The single further fact that would decide, where this is one of several possible causes."""
    devices: list[str] = []
    """The GPUs that it is about (``cuda:1``), where it does not hold for every one; else empty."""
    decided_by: MissingFact | None = None
    """Where undecided: the fact that would tell this cause from the others, where it is one."""


class Verdict(Noun, frozen=True, omit_defaults=False):
    """One quantization backend here. ``rel_error`` is ||y - y64||F / ||y64||F on Gaussian data."""

    backend: str
    usable: YesNo
    reason: str
    rule: str | None = None
    rel_error: float | None = None
    milliseconds: float | None = None
    speedup_vs_half: float | None = None
    weight_bytes_per_param: float | None = None
    measured_on: str | None = None


class GpuVerdicts(Noun, frozen=True, omit_defaults=False):
    """The verdicts on one of several GPUs; ``index`` is its number for CUDA (``cuda:1``)."""

    index: int | None
    name: str | None
    sm: str | None
    selected: str | None
    verdicts: list[Verdict]


class Diagnosis(Noun, frozen=True, omit_defaults=False):
    """What ``qdoctor.diagnose`` returns. ``gpu_verdicts``: see ``Report``."""

    findings: list[Finding]
    verdicts: list[Verdict]
    selected: str | None = None
    gpu_verdicts: list[GpuVerdicts] = []
    selected_on_every_gpu: str | None = None


class PlanStep(Noun, frozen=True, omit_defaults=False):
    """One question about a plan: whether it would install, import or run."""

    answer: YesNo
    reason: str


class PlanVerdict(Noun, frozen=True, omit_defaults=False):
    """What planned packages would do: ``backends`` are those that they would make run.

    ``packages`` holds the resolved versions, those that they bring along included; ``"?"`` for one
    that the matrix does not know.
    """

    packages: dict[str, str]
    installs: PlanStep
    imports: PlanStep
    runs: PlanStep
    backends: list[str] = []


class Report(Noun, frozen=True, omit_defaults=False):
    """Everything one examination learned (``qdoctor/report/1``); a complete replay.

    ``verdicts`` and ``selected`` are about the first GPU that CUDA shows, which is what torch uses
    unless it is told otherwise, or about the CPU where there is none.
    """

    tool_version: str
    matrix_version: str
    target: Target
    facts: Facts
    observations: list[Observation]
    findings: list[Finding]
    verdicts: list[Verdict]
    selected: str | None
    exit_code: int
    schema: Literal["qdoctor/report/1"] = "qdoctor/report/1"
    plan: PlanVerdict | None = None
    """Only where packages were planned."""
    gpu_verdicts: list[GpuVerdicts] = []
    """Where CUDA shows several GPUs: the verdicts on each; else empty."""
    selected_on_every_gpu: str | None = None
    """Where CUDA shows several GPUs: the backend for work that is spread over all of them."""
    selection: Selection | None = None
    """Only where a backend was asked for: ``selected`` is then what it selects."""
