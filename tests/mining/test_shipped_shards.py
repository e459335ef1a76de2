"""Statements of shipped shards, told again by other means from the packages installed here."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIST_NAMES = """
import importlib, json, sys
def there(name):
    module, _, attribute = name.rpartition(".")
    try:
        return hasattr(importlib.import_module(module), attribute)
    except ImportError:
        return False
def importable(name):
    try:
        return bool(importlib.import_module(name))
    except ImportError:
        return False
print(json.dumps([n for n in json.load(sys.stdin) if not there(n) and not importable(n)]))
"""
DECORATE = """
import sys, triton
def kernel(x): pass
try:
    triton.autotune(configs=[triton.Config({})], key=["x"])(triton.jit(kernel))
except RuntimeError as error:
    print("needs", error)
else:
    print("free")
"""


@pytest.fixture
def shard(checkout: Path) -> Callable[[str], dict[str, Any]]:
    """Give the shipped facts of the release of a package that is installed here."""

    def read(package: str) -> dict[str, Any]:
        try:
            version = importlib.metadata.version(package).split("+")[0]
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"{package} is not installed")
        path = checkout / "matrix" / "releases" / package / f"{version}.json"
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    return read


def child(code: str, folder: Path, text: str = "") -> str:
    script = folder / "script.py"
    script.write_text(code, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, str(script)], input=text, capture_output=True, text=True, check=True
    )
    return ran.stdout.strip().splitlines()[-1]


def test_triton_has_the_names_that_are_listed(
    shard: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    facts = shard("triton")["facts"]
    wanted = [n for n in facts["names"] if n.startswith("triton.language.")]
    assert len(wanted) > 300
    assert json.loads(child(LIST_NAMES, tmp_path, json.dumps(wanted))) == []


def test_triton_has_no_other_public_names_in_its_closed_modules(
    shard: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    facts = shard("triton")["facts"]
    modules = ["triton.language.math", "triton.language.extra.cuda.libdevice", "triton.testing"]
    assert set(modules) <= set(facts["closed_modules"])
    code = (
        "import importlib, json, sys\n"
        "found = [importlib.import_module(m) for m in json.load(sys.stdin)]\n"
        "own = lambda m, v: getattr(v, '__module__', '') == m.__name__\n"
        "names = [f'{m.__name__}.{n}' for m in found for n, v in vars(m).items() if own(m, v)]\n"
        "print(json.dumps([n for n in names if not n.rpartition('.')[2].startswith('_')]))\n"
    )
    there = json.loads(child(code, tmp_path, json.dumps(modules)))
    assert len(there) > 50
    assert set(there) <= set(facts["names"])


def test_llrint_is_found_under_each_listed_path_and_no_other(
    shard: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    modules = ("", ".libdevice", ".math", ".extra.libdevice", ".extra.cuda.libdevice")
    spellings = [f"triton.language{module}.llrint" for module in modules]
    missing = json.loads(child(LIST_NAMES, tmp_path, json.dumps(spellings)))
    assert set(spellings) - set(missing) == set(shard("triton")["facts"]["libdevice_paths"])


def test_ptxas_says_the_version_that_is_listed(
    shard: Callable[[str], dict[str, Any]],
) -> None:
    facts = shard("triton")["facts"]
    files = importlib.metadata.files("triton") or []
    tools = [f.locate() for f in files if f.name.startswith("ptxas")]
    told = [
        subprocess.run([str(tool), "--version"], capture_output=True, text=True, check=True).stdout
        for tool in tools
    ]
    assert len(told) == len(facts["ptxas"])
    for version in facts["ptxas"]:
        assert any(f"V{version}" in text for text in told)


def test_decorating_asks_for_a_driver_only_where_the_shard_says_so(
    shard: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    needs = shard("triton")["facts"]["decorators_need_driver"]
    assert child(DECORATE, tmp_path).startswith("needs" if needs else "free")


def test_bitsandbytes_libraries_are_the_installed_files(
    shard: Callable[[str], dict[str, Any]],
) -> None:
    native = shard("bitsandbytes")["facts"]["native"]
    system = {"linux": "linux", "win32": "windows", "darwin": "macos"}[sys.platform]
    installed = {f.name for f in importlib.metadata.files("bitsandbytes") or []}
    libraries = {name for name in installed if name.startswith("libbitsandbytes")}
    listed: dict[str, set[str]] = {}
    for library in native:
        if library["platform"].startswith(system):
            listed.setdefault(library["platform"], set()).add(library["file"])
    assert libraries in listed.values()


def test_bitsandbytes_has_the_layers_that_are_listed(
    shard: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    facts = shard("bitsandbytes")["facts"]
    wanted = [n for n in facts["public_names"] if n.startswith("bitsandbytes.nn.")]
    assert "bitsandbytes.nn.Linear8bitLt" in wanted
    assert json.loads(child(LIST_NAMES, tmp_path, json.dumps(wanted))) == []
    there = "import bitsandbytes.nn as nn\nprint(hasattr(nn, 'SwitchBackLinear'))\n"
    assert child(there, tmp_path) == str(facts["switchback"])


def test_torch_metadata_is_the_public_wheels(shard: Callable[[str], dict[str, Any]]) -> None:
    """The tests' torch is a CPU build of the same release: same Pythons, other requirements."""
    read = shard("torch")
    metadata = importlib.metadata.metadata("torch")
    assert read["facts"]["requires_python"] == metadata["Requires-Python"]
    assert read["facts"]["cuda"] != ""
    assert not any("+cpu" in place["wheel"] for place in read["evidence"]["cuda"])


def test_no_shard_names_a_host_or_a_local_build(checkout: Path) -> None:
    for path in (checkout / "matrix" / "releases").rglob("*.json"):
        read = json.loads(path.read_text(encoding="utf-8"))
        for key, places in read["evidence"].items():
            for place in places:
                assert "://" not in place.get("wheel", ""), (path, key)
                assert "+" not in place.get("wheel", ""), (path, key)
