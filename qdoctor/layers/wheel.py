"""Would an installer find a wheel of a release for this Python, system and C library?

These questions are about releases that are not installed yet, so each takes the release it is
about. Which Pythons and which platforms a release has wheels for is known, not each pair of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdoctor.layers.answer import Answer, no, together, unknown, yes
from qdoctor.layers.host import glibc_of_tag, release_fits_python
from qdoctor.released import Known, cited, fact, parsed, row_for

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packaging.version import Version

    from qdoctor.machine import Machine
    from qdoctor.matrix import Matrix

_EVERYWHERE = "any"
_WITHOUT_CUDA = "cpu"
_SYSTEMS = {"linux": ("manylinux", "linux"), "windows": ("win",), "macos": ("macosx",)}
_MUSL = ("musllinux",)
_MACHINES = {"amd64": "x86_64", "aarch64": "arm64"}
"""One name for the machines that systems call differently (tags say ``aarch64`` and ``arm64``)."""
_UNIVERSAL = "universal2"
_OF_A_RELEASE = ("has no wheel for", "has")


def has_wheel(machine: Machine, matrix: Matrix, package: str, version: str) -> Answer:
    """Has a release a wheel that an installer takes on this machine?

    ``version`` may carry a build tag (``2.9.1+cu126``): then that build is asked for. Where the C
    library is not stated it is taken to be new enough.
    """
    if not matrix.matching(package, version):
        return unknown(f"the matrix does not know {package} {version}")
    if machine.python.value is None:
        return unknown(machine.python.reason)
    accepts = release_fits_python(machine, matrix, package, version)
    return together([accepts, platform_has_wheel(machine, matrix, package, version)])


def oldest_libc(
    machine: Machine, matrix: Matrix, package: str, versions: Iterable[str]
) -> Version | None:
    """Return the oldest glibc that any of some releases has a wheel for; None for none known."""
    arch = machine.arch.value
    floors = [
        floor
        for version in versions
        for tag in fact(matrix, package, version, "platforms").value or ()
        if arch is None or _is_for(tag, "linux", arch, musl=False)
        if (floor := glibc_of_tag(tag))
    ]
    return min(floors, default=None)


def build_of(machine: Machine, matrix: Matrix, version: str, tag: str) -> Answer:
    """Is torch ``version`` published as the build ``tag`` (``cu126``, ``cpu``) for this system?"""
    if tag == _WITHOUT_CUDA:
        return _cpu_build(machine, matrix, version)
    default = fact(matrix, "torch", version, "cuda")
    if default.value and _tag_of(default.value) == tag and _is_usual(machine, matrix):
        return yes(f"{tag} is the default build of torch {version}", default.because)
    builds = fact(matrix, "torch", version, "builds")
    build = (builds.value or {}).get(tag)
    if build is None:
        known = ", ".join(sorted(builds.value or {})) or "none"
        return unknown(f"a build {tag} of torch {version} is not known (known: {known})")
    here = _system(machine)
    if None in {machine.os.value, machine.arch.value}:
        return unknown(machine.os.reason or machine.arch.reason)
    if here not in build.get("platforms", ()):
        text = f"torch {version}+{tag} is not published for {here}"
        return no(None, text, builds.because)
    return yes(f"torch {version}+{tag} is published for {here}", builds.because)


def _cpu_build(machine: Machine, matrix: Matrix, version: str) -> Answer:
    table = matrix.table("torch_cpu_builds")
    row = row_for(matrix, table["rows"], "torch", version)
    if None in {machine.os.value, machine.arch.value}:
        return unknown(machine.os.reason or machine.arch.reason)
    here = _system(machine)
    if row is None or here not in row["platforms"]:
        return unknown(
            f"whether torch {version} is published as a build cpu for {here} is not known"
        )
    text = f"torch {version}+cpu is published for {here}"
    return yes(text, cited(table, row, text))


def _system(machine: Machine) -> str:
    return f"{machine.os.value}_{_spelt(machine.arch.value or '')}"


def _is_usual(machine: Machine, matrix: Matrix) -> bool:
    """Say whether what the default build of Linux x86_64 is says something of this machine."""
    usual = matrix.table("torch_defaults")["usual_machine"]
    other = machine.arch.value is not None and _spelt(machine.arch.value) != usual
    return machine.os.value != "linux" or not other


def _tag_of(cuda: str) -> str:
    return "cu" + cuda.replace(".", "")


def platform_has_wheel(machine: Machine, matrix: Matrix, package: str, version: str) -> Answer:
    """Has a release a wheel for this system and processor, whatever the Python?"""
    tag = version.partition("+")[2]
    if package == "torch" and tag:
        public = version.partition("+")[0]
        built = build_of(machine, matrix, public, tag)
        if built.value != "yes":
            return built
    return tagged(machine, f"{package} {version}", fact(matrix, package, version, "platforms"))


def tagged(
    machine: Machine, who: str, tags: Known[Any], words: tuple[str, str] = _OF_A_RELEASE
) -> Answer:
    """Is one of some platform tags this system's? ``words`` say that none is, and which are."""
    if tags.value is None:
        return unknown(tags.reason)
    if _EVERYWHERE in tags.value:
        return yes(f"{who} has a wheel for every platform", tags.because)
    system, arch = machine.os.value, machine.arch.value
    if system and arch is None and not any(_is_of(tag, system) for tag in tags.value):
        return no(None, f"{who} {words[0]} {system}", tags.because)
    if system is None or arch is None:
        too_old = _libc_of_any(machine, who, tags)
        return too_old or unknown(machine.os.reason or machine.arch.reason)
    musl = (machine.libc.value or "").startswith("musl")
    fitting = [tag for tag in tags.value if _is_for(tag, system, arch, musl=musl)]
    if not fitting:
        here = f"{system} {arch}" + " with musl" * musl
        held = ", ".join(tags.value)
        return no(None, f"{who} {words[0]} {here} (it {words[1]} {held})", tags.because)
    return _libc(machine, who, fitting, tags)


def _is_of(tag: str, system: str) -> bool:
    return tag.startswith((*_SYSTEMS.get(system, ()), *(_MUSL if system == "linux" else ())))


def _is_for(tag: str, system: str, arch: str, *, musl: bool) -> bool:
    starts = _MUSL if musl else _SYSTEMS.get(system, ())
    same = _machine(tag).endswith(f"_{_machine(_spelt(arch))}")
    return tag.startswith(starts) and (same or (system == "macos" and tag.endswith(_UNIVERSAL)))


def _spelt(arch: str) -> str:
    """Write a machine as the facts do, however a system calls it (``AMD64`` on Windows)."""
    return "x86_64" if arch.lower() in {"amd64", "x64"} else arch


def _machine(text: str) -> str:
    """Write the machine at the end of a tag the one way."""
    for name, plain in _MACHINES.items():
        text = text.removesuffix(name) + plain if text.endswith(name) else text
    return text


def _libc_of_any(machine: Machine, who: str, tags: Known[Any]) -> Answer | None:
    """Say no where the C library is too old for the wheels of every processor; else None."""
    of_linux = [tag for tag in tags.value or () if tag.startswith(_SYSTEMS["linux"])]
    refusable = machine.os.value == "linux" and all(map(glibc_of_tag, of_linux))
    answer = _libc(machine, who, of_linux, tags) if refusable else None
    return answer if answer is not None and answer.value == "no" else None


def _libc(machine: Machine, who: str, fitting: list[str], tags: Known[Any]) -> Answer:
    floors = [floor for tag in fitting if (floor := glibc_of_tag(tag))]
    libc = machine.libc.value or ""
    have: Version | None = parsed(libc.partition(" ")[2]) if libc.startswith("glibc") else None
    if floors and have is not None and have < min(floors):
        text = f"{who} needs glibc {min(floors)} or newer by its wheel's tag, this is {libc}"
        return no("glibc-too-old", text, tags.because, machine.libc.because)
    need = f" with glibc {min(floors)} or newer" if floors and not have else ""
    return yes(f"{who} has a wheel for {machine.os.value} {machine.arch.value}{need}", tags.because)
