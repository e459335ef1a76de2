"""``python -m qdoctor.mining``: read released wheels into a matrix folder.

``--compile`` does not read but runs: it compiles tiny kernels with every triton release there is a
shard for. Minutes, not seconds, and 10 GB of disk.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

from qdoctor import shipped
from qdoctor.matrix import load
from qdoctor.mining.compiled import Bench, compile_all
from qdoctor.mining.errors import UnreadableRelease
from qdoctor.mining.index import by_release, configured, wheels
from qdoctor.mining.mine import KINDS, Wanted, mine, renew_index

if TYPE_CHECKING:
    from qdoctor.mining.http import Transport


def main() -> int:
    """Mine; 0 when everything asked for was read, 1 when a release could not be, 2 on bad usage."""
    parser = argparse.ArgumentParser(prog="python -m qdoctor.mining", description=__doc__)
    packages = [kind.package for kind in KINDS]
    parser.add_argument("--package", choices=packages, help="only this package's releases")
    parser.add_argument("--only", metavar="PACKAGE==VERSION", help="only this release")
    parser.add_argument("--out", type=Path, default=shipped.matrix_folder(), metavar="FOLDER")
    parser.add_argument("--refresh", action="store_true", help="read again what has a shard")
    parser.add_argument("--compile", action="store_true", help="compile with each triton release")
    parser.add_argument(
        "--cache", type=Path, metavar="FOLDER", help="with --compile: where releases are installed"
    )
    parser.add_argument(
        "--torch", type=Path, metavar="FOLDER", help="with --compile: torch, for triton 2 to import"
    )
    given = parser.parse_args()
    if given.compile and given.cache is None:
        parser.error("--compile wants --cache FOLDER: all triton releases take 10 GB there")
    package, version = given.package, None
    if given.only:
        package, _, version = given.only.partition("==")
        if package not in packages or not _is_version(version):
            parser.error(f"--only wants PACKAGE==VERSION, PACKAGE one of {', '.join(packages)}")
    try:
        index_url, transport = configured()
        if given.compile:
            return _compile(given, version, index_url, transport)
        mined = mine(given.out, index_url, transport, Wanted(package, version, given.refresh), _say)
    except UnreadableRelease as error:
        _say(f"error: {error}")
        return 1
    counts = f"{len(mined.written)} written, {len(mined.unchanged)} unchanged"
    mib = mined.received / 2**20
    _say(f"{counts}, {len(mined.failed)} not read; {mib:.1f} MiB in {mined.requests} requests")
    _say(f"{mined.seconds:.1f} s")
    return 1 if mined.failed else 0


def _compile(
    given: argparse.Namespace, version: str | None, index_url: str, transport: Transport
) -> int:
    """Compile with the wanted triton releases; 1 when one of them could not be tried."""
    sms = tuple(load(given.out).table("ptxas")["rows"])
    bench = Bench(given.out, given.cache, given.torch, sms)

    def wanted(found: Version, done: bool) -> bool:  # noqa: FBT001 - a fact about it
        asked = version is None or found == Version(version)
        return asked and (given.refresh or not done)

    started = time.monotonic()
    releases = by_release(wheels(index_url, "triton", transport))
    written, failed = compile_all(releases, bench, wanted, _say)
    renew_index(given.out, changed=bool(written))
    _say(f"{len(written)} written, {len(failed)} not compiled; {time.monotonic() - started:.1f} s")
    return 1 if failed else 0


def _is_version(text: str) -> bool:
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - a program of its own, progress only


if __name__ == "__main__":
    sys.exit(main())
