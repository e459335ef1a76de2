"""A package index on this machine: range requests, handmade wheels, and servers that misbehave."""

from __future__ import annotations

import hashlib
import io
import json
import re
import threading
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pytest

from qdoctor.mining.http import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

METADATA = "Metadata-Version: 2.1\nName: {0}\nVersion: {1}\n{2}\n"


@dataclass
class Index:
    """What a local server serves, by path; ``faults`` makes a path misbehave some times."""

    url: str = ""
    files: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def add(self, package: str, wheels: dict[str, bytes], *, html: bool = False) -> None:
        """Serve wheels and the index page that lists them."""
        rows: list[dict[str, Any]] = []
        for name, body in wheels.items():
            self.files[f"/files/{name}"] = (body, "application/octet-stream")
            digest = hashlib.sha256(body).hexdigest()
            rows.append(
                {"filename": name, "url": f"../../files/{name}", "hashes": {"sha256": digest}}
            )
        if html:
            links = (f'<a href="{r["url"]}#sha256={r["hashes"]["sha256"]}">x</a>' for r in rows)
            page, kind = "".join(links).encode(), "text/html"
        else:
            page, kind = json.dumps({"files": rows}).encode(), "application/vnd.pypi.simple.v1+json"
        self.files[f"/wheels/{package}/"] = (page, kind)


@pytest.fixture
def index() -> Iterator[Index]:
    served = Index()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _answer(self, served)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Keep the test output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    served.url = f"http://127.0.0.1:{server.server_address[1]}/wheels/"
    yield served
    server.shutdown()
    server.server_close()


def _answer(request: BaseHTTPRequestHandler, served: Index) -> None:
    served.asked.append(request.path)
    faults = served.faults.get(request.path, [])
    fault = faults.pop(0) if faults else ""
    body, kind = served.files.get(request.path, (b"", ""))
    wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("Range", ""))
    status = 200
    headers = {"Content-Type": kind}
    if not kind or fault.isdecimal():
        status, body = int(fault or 404), b""
    elif wanted and fault != "no ranges":
        first, last = int(wanted[1]), min(int(wanted[2]), len(body) - 1)
        status, total = 206, len(body)
        body = body[first : last + 1]
        headers["Content-Range"] = f"bytes {first + (fault == 'shifted')}-{last}/{total}"
    body = body[: len(body) // 2] if fault == "short" else body
    request.send_response(status)
    for name, value in {**headers, "Content-Length": str(len(body))}.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(body)


@pytest.fixture
def transport() -> Transport:
    return Transport(seconds=10, pause=0.001)


@pytest.fixture
def make_wheel() -> Callable[..., bytes]:
    """Give a maker of a wheel: members by name, and lines added to its METADATA."""

    def make(package: str, version: str, members: dict[str, bytes | str], *metadata: str) -> bytes:
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, body in members.items():
                archive.writestr(zipfile.ZipInfo(name), body)
            text = METADATA.format(package, version, "\n".join(metadata))
            archive.writestr(zipfile.ZipInfo(f"{package}-{version}.dist-info/METADATA"), text)
        return target.getvalue()

    return make


@pytest.fixture(scope="session")
def _pip() -> None:
    """Skip where pip is not installed, without importing it: what setuptools does changes then."""
    try:
        metadata.version("pip")
    except metadata.PackageNotFoundError:
        pytest.skip("mining asks pip, which is not installed")
