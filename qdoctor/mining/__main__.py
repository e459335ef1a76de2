"""``python -m qdoctor.mining``: read released wheels into a matrix folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from packaging.version import InvalidVersion, Version

from qdoctor import shipped
from qdoctor.mining.errors import UnreadableRelease
from qdoctor.mining.index import configured
from qdoctor.mining.mine import KINDS, Wanted, mine


def main() -> int:
    """Mine; 0 when everything asked for was read, 1 when a release could not be, 2 on bad usage."""
    parser = argparse.ArgumentParser(prog="python -m qdoctor.mining", description=__doc__)
    packages = [kind.package for kind in KINDS]
    parser.add_argument("--package", choices=packages, help="only this package's releases")
    parser.add_argument("--only", metavar="PACKAGE==VERSION", help="only this release")
    parser.add_argument("--out", type=Path, default=shipped.matrix_folder(), metavar="FOLDER")
    parser.add_argument("--refresh", action="store_true", help="read again what has a shard")
    given = parser.parse_args()
    package, version = given.package, None
    if given.only:
        package, _, version = given.only.partition("==")
        if package not in packages or not _is_version(version):
            parser.error(f"--only wants PACKAGE==VERSION, PACKAGE one of {', '.join(packages)}")
    try:
        index_url, transport = configured()
        mined = mine(given.out, index_url, transport, Wanted(package, version, given.refresh), _say)
    except UnreadableRelease as error:
        _say(f"error: {error}")
        return 1
    counts = f"{len(mined.written)} written, {len(mined.unchanged)} unchanged"
    mib = mined.received / 2**20
    _say(f"{counts}, {len(mined.failed)} not read; {mib:.1f} MiB in {mined.requests} requests")
    _say(f"{mined.seconds:.1f} s")
    return 1 if mined.failed else 0


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
