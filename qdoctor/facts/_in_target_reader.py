"""What the examined interpreter would import, read inside it without importing any of it.

Standard library only, Python 3.6 syntax, no third-party code run. Metadata is read off the names of
``*.dist-info`` folders, in ``sys.path`` order, the first one wins: the rule of importlib.metadata,
which Python 3.7 lacks and which opens every METADATA file (100 packages: 60 ms against 3 ms).
"""

# ruff: noqa: PTH100, PTH113, PTH118, PTH119, PTH120, PTH123, PTH202, PTH208 - importing pathlib costs 10 ms

import ast
import contextlib
import importlib.machinery
import importlib.util
import io
import mmap
import os
import re
import shutil
import stat
import sys
import sysconfig
import warnings

# Module -> the distributions that bring it. A shadowing copy matters for these.
MODULES = {
    "torch": ("torch",),
    "triton": (
        "triton",
        "pytorch-triton",
        "pytorch-triton-rocm",
        "pytorch-triton-xpu",
        "triton-rocm",
        "triton-xpu",
        "triton-windows",
    ),
    "bitsandbytes": ("bitsandbytes",),
    "torchao": ("torchao",),
    "transformers": ("transformers",),
    "accelerate": ("accelerate",),
    "peft": ("peft",),
    "diffusers": ("diffusers",),
    "open_clip": ("open-clip-torch",),
    # What bitsandbytes releases import, some without requiring it.
    "numpy": ("numpy",),
    "scipy": ("scipy",),
    "packaging": ("packaging",),
}
REQUIRES_OF = ("torch", "triton", "bitsandbytes")
LARGEST = 2 << 20  # bytes of a source file or of metadata that are read; torch's have 0.1 MB
LONGEST = 200  # characters of a version; numbers of thousands of digits cannot even be compared
TORCH_PYTHON = ("libtorch_python.so", "torch_python.dll", "libtorch_python.dylib")
FLAGS = re.compile(
    rb"((?:sm|compute)_\d+[a-z]?(?: (?:sm|compute)_\d+[a-z]?)*"
    rb"|gfx[0-9a-f]+(?::[a-z]+[+-])*(?:[ ;]gfx[0-9a-f]+(?::[a-z]+[+-])*)*)\0"
)


def read() -> "dict[str, object]":
    """Everything, as plain JSON values; a key that could not be learned is null or absent."""
    warnings.simplefilter("ignore")  # PYTHONWARNINGS=error is no reason to read less
    unread: dict[str, str] = {}
    found = distributions(unread)
    packages, copies = packages_and_copies(found, unread)
    first = {name: files[0][1] for name, files in copies.items() if files}
    folders = {name: os.path.dirname(path) for name, path in first.items() if is_package(path)}
    if "torch" in first and "torch" not in folders:
        unread["torch_cuda"] = first["torch"] + " is a single file, not the package"
    cuda, arch_list = torch_build(folders.get("torch"), unread)
    answer = {
        "python": python(),
        "c_compiler": c_compiler(folders.get("triton")),
        "libc": libc(),
        "packages": packages,
        "packages_found": [
            {"name": names[0], "version": version, "file": path}
            for module, names in MODULES.items()
            for version, path in copies[module]
        ],
        "requires": requires(found, packages),
        "torch_cuda": cuda,
        "torch_arch_list": arch_list,
        "folders": folders,
        "distributions": distributions_of(found),
        "path": [os.path.abspath(entry or ".") for entry in sys.path],
        "unread": unread,
    }
    return {name: writable(value) for name, value in answer.items()}


def writable(value: object) -> object:
    """Replace bytes of paths that are no UTF-8, which JSON cannot hold, and what is no text."""
    if isinstance(value, str):
        try:
            return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        except UnicodeEncodeError:  # a lone surrogate, which a literal can spell
            return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {writable(name): writable(item) for name, item in value.items()}
    return [writable(item) for item in value] if isinstance(value, list) else value


def python() -> "dict[str, object]":
    """Version, places, and whether a C extension can be compiled against it."""
    return {
        "version": sys.version.split()[0],
        "executable": sys.executable,
        "prefix": sys.prefix,
        "base_prefix": sys.base_prefix,
        "headers": headers(),
        "externally_managed": externally_managed(),
    }


def externally_managed() -> bool:
    """Whether pip refuses to install here: the system's own Python, by the marker of PEP 668."""
    marker = os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
    return sys.prefix == sys.base_prefix and os.path.isfile(marker)


def headers() -> bool:
    """Whether Python.h lies where triton's compile step, or the compiler itself, looks."""
    folders = [sysconfig.get_path("include"), sysconfig.get_config_var("INCLUDEPY")]
    if "posix_prefix" in sysconfig.get_scheme_names():  # Debian's default scheme names another
        folders.append(sysconfig.get_path("include", "posix_prefix"))
    for name in ("CPATH", "C_INCLUDE_PATH"):
        folders += os.environ.get(name, "").split(os.pathsep)
    return any(folder and os.path.isfile(os.path.join(folder, "Python.h")) for folder in folders)


def c_compiler(triton: "str | None") -> bool:
    """Whether triton would find one: $CC as it stands, else gcc or clang, or its own on Windows."""
    named = os.environ.get("CC")
    if named is not None:
        return shutil.which(named) is not None
    bundled = triton is not None and os.path.isfile(
        os.path.join(triton, "runtime", "tcc", "tcc.exe")
    )
    names = ("cl", "gcc", "clang") if os.name == "nt" else ("gcc", "clang")  # never plain cc
    return bundled or any(shutil.which(name) for name in names)


def libc() -> "str | None":
    """``glibc 2.35``, or ``musl PATH`` with its loader, which only tells its version when run."""
    try:
        stated = os.confstr("CS_GNU_LIBC_VERSION")
    except (AttributeError, ValueError, OSError):  # Windows has no confstr, musl no such name
        stated = None
    if stated:
        return stated
    try:
        with open("/proc/self/maps", "rb") as maps:
            loader = re.search(rb"(/\S*ld-musl-\S+)", maps.read())
    except OSError:
        return None
    return "musl " + os.fsdecode(loader.group(1)) if loader else None


def canonical(name: str) -> str:
    """Normalise a distribution's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def distributions(unread: "dict[str, str]") -> "list[tuple[str, str, str, str]]":
    """List (name, version, metadata file, import folder) of what is installed, in path order."""
    found = []
    for folder in dict.fromkeys(os.path.abspath(entry or ".") for entry in sys.path):
        try:
            names = sorted(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):  # not there, or a zip
            continue
        except OSError as error:  # closed to us, or on a file system that fails
            unread["packages"] = folder + " cannot be read: " + str(error.strerror)
            continue
        for name in names:
            # A leading ~ is what an interrupted pip left; EGG-INFO lies in an egg on the path.
            if name.endswith((".dist-info", ".egg-info", "EGG-INFO")) and name[0] != "~":
                found += distribution(folder, name)
    return found


def distribution(folder: str, name: str) -> "list[tuple[str, str, str, str]]":
    """Read one metadata folder (or egg-info file); nothing where an uninstall left it empty."""
    base = os.path.join(folder, name)
    for path in (os.path.join(base, "METADATA"), os.path.join(base, "PKG-INFO"), base):
        if os.path.isfile(path):
            break
    else:
        return []
    stated = re.match(r"([^-]+)-([0-9][^-_]*)(-py[\d.]+)?\.(dist|egg)-info$", name)
    if stated:
        return [(canonical(stated.group(1)), stated.group(2), path, folder)]
    header = metadata(path)
    names, versions = header.get("name"), header.get("version")
    if not names:
        return []
    version = versions[0] if versions and len(versions[0]) <= LONGEST else "?"
    return [(canonical(names[0]), version, path, folder)]


def metadata(path: str) -> "dict[str, list[str]]":
    """Read the header of a METADATA file: lower-case key -> values, continuation lines joined."""
    header: dict[str, list[str]] = {}
    key = None
    try:
        text = contents(path).decode("utf-8", "replace")
    except OSError:
        return header
    for line in io.StringIO(text, newline=None):
        if not line.strip():
            break
        if line[0] in " \t" and key:
            header[key][-1] += " " + line.strip()
            continue
        key, _, value = line.partition(":")
        key = key.strip().lower()
        header.setdefault(key, []).append(value.strip())
    return header


def contents(path: str) -> bytes:
    """Read the beginning of a regular file; ``OSError`` for any other, which is not waited for."""
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(number, "rb") as file:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise OSError("no regular file: " + path)
        return file.read(LARGEST)


def packages_and_copies(
    found: "list[tuple[str, str, str, str]]", unread: "dict[str, str]"
) -> "tuple[dict[str, str], dict[str, list[tuple[str | None, str]]]]":
    """Versions by name, and for each module of MODULES its copies in import order."""
    packages: dict[str, str] = {}
    home: dict[str, str] = {}
    for name, version, path, folder in found:
        if name not in packages:
            packages[name], home[name] = version, folder
        elif home[name] == folder and packages[name] != version:
            packages[name] = "?"
            unread["packages." + name] = "several metadata folders in " + folder + ", e.g. " + path
    copies = {}
    for module, names in MODULES.items():
        copies[module] = [(copy_version(path, names, found), path) for path in copies_of(module)]
        settle(packages, names[0], copies[module], unread)
    return packages, copies


def settle(
    packages: "dict[str, str]",
    name: str,
    copies: "list[tuple[str | None, str]]",
    unread: "dict[str, str]",
) -> None:
    """State the version of the copy that would be imported; ``""`` where there is none at all."""
    if copies:
        packages[name] = copies[0][0] or "?"
        if copies[0][0]:
            unread.pop("packages." + name, None)
    elif name in packages:
        unread["packages_found." + name] = "its metadata is installed, but nothing to import"
    else:
        packages[name] = ""


def copies_of(module: str) -> "list[str]":
    """List the files of each copy of a top-level module, in import order; executes none of them."""
    specs = []
    with contextlib.suppress(Exception):  # a finder is anybody's code
        specs.append(importlib.util.find_spec(module))  # knows the finders of editable installs
    for entry in sys.path:
        with contextlib.suppress(Exception):
            specs.append(importlib.machinery.PathFinder.find_spec(module, [entry]))
    files = [spec.origin for spec in specs if spec is not None and spec.has_location]
    first: dict[tuple[str, str], str] = {}
    for path in (os.path.abspath(path) for path in files if path):
        # One folder by two names is one copy: Fedora's lib64 is a link to lib, both on the path.
        first.setdefault((os.path.realpath(os.path.dirname(path)), os.path.basename(path)), path)
    return list(first.values())


def is_package(path: str) -> bool:
    """Whether a module's file is that of a folder: a ``torch.py`` has none of its own."""
    return os.path.basename(path).startswith("__init__.")


def copy_version(
    path: str, names: "tuple[str, ...]", found: "list[tuple[str, str, str, str]]"
) -> "str | None":
    """Version of one copy: its metadata in the same import folder, else what its source states."""
    package = os.path.dirname(path)
    folder = os.path.dirname(package) if is_package(path) else package
    stated = {version for name, version, _, home in found if name in names and home == folder}
    if len(stated) == 1:
        return stated.pop()
    beside = [os.path.join(package, "version.py")] if is_package(path) else []
    for source in [*beside, path]:
        version = constants(source).get("__version__")
        if isinstance(version, str) and len(version) <= LONGEST:
            return version
    return None


def constants(path: str) -> "dict[str, object]":
    """Collect a module's top-level ``name = literal`` statements, by syntax tree."""
    try:
        tree = ast.parse(contents(path))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):  # nested too deeply
        return {}
    values: dict[str, object] = {}
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        try:
            value = ast.literal_eval(node.value)  # type: ignore[attr-defined]
        except (ValueError, AttributeError, TypeError, SyntaxError, RecursionError, MemoryError):
            continue
        values.update({name.id: value for name in targets if isinstance(name, ast.Name)})
    return values


def distributions_of(found: "list[tuple[str, str, str, str]]") -> "list[dict[str, str]]":
    """Name every distribution once, the copy that counts, with its metadata and import folder."""
    first: dict[str, dict[str, str]] = {}
    for name, version, path, home in found:
        first.setdefault(name, {"name": name, "version": version, "file": path, "folder": home})
    return list(first.values())


def requires(
    found: "list[tuple[str, str, str, str]]", packages: "dict[str, str]"
) -> "dict[str, list[str]]":
    """Requires-Dist of torch, triton and bitsandbytes, of the version that would be imported."""
    wanted: dict[str, list[str]] = {}
    for name, version, path, _ in found:
        if name in REQUIRES_OF and name not in wanted and version == packages[name]:
            wanted[name] = metadata(path).get("requires-dist", [])
    return wanted


def torch_build(
    folder: "str | None", unread: "dict[str, str]"
) -> "tuple[str | None, list[str] | None]":
    """CUDA version and architectures torch was built for; (``""``, []) of a CPU build."""
    if folder is None:
        return None, None
    stated = constants(os.path.join(folder, "version.py"))
    cuda = stated.get("cuda", 0) or ("" if "cuda" in stated else 0)
    if not isinstance(cuda, str) or len(cuda) > LONGEST:
        unread["torch_cuda"] = "torch/version.py is missing or does not state it"
        return None, None
    if not cuda and not stated.get("hip"):
        return "", []
    try:
        archs = arch_list(os.path.join(folder, "lib"))
    except OSError as error:
        archs, unread["torch_arch_list"] = None, str(error)
    else:
        if archs is None:
            unread["torch_arch_list"] = "no list of architectures found in torch's library"
    return cuda, archs


def arch_list(folder: str) -> "list[str] | None":
    """Read the build's architecture flags, a string constant such as ``sm_80 sm_90``.

    It is what ``torch.cuda.get_arch_list`` returns; the longest such constant is taken, since
    single names stand in the library for other reasons too.
    """
    best: list[str] = []
    for path in (os.path.join(folder, name) for name in TORCH_PYTHON):
        if not os.path.isfile(path) or not os.path.getsize(path):
            continue
        with open(path, "rb") as library, mapped(library.fileno()) as data:
            for prefix in (b"sm_", b"gfx"):
                best = max(best, longest_flags(data, prefix), key=len)
    return best or None


def mapped(number: int) -> mmap.mmap:
    """Map an open file for reading: torch's library has 30 MB, of which one string is wanted."""
    return mmap.mmap(number, 0, access=mmap.ACCESS_READ)


def longest_flags(data: mmap.mmap, prefix: bytes) -> "list[str]":
    """Find the NUL-ended constant from ``prefix`` on that lists most architectures.

    What stands before it need not end in NUL (torch 2.9.0); only a single name must stand alone.
    """
    best: list[str] = []
    at = data.find(prefix)
    while at >= 0:
        found = FLAGS.match(data, at)
        words = re.split("[ ;]", found.group(1).decode("ascii")) if found else []
        if len(words) > max(1, len(best)) or (words and not best and data[at - 1 : at] == b"\0"):
            best = words
        at = data.find(prefix, found.end() if found else at + 1)
    return best
