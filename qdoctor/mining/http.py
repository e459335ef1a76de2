"""Bytes over HTTP: whole answers and ranges, counted, retried a few times with growing pauses."""

from __future__ import annotations

import http.client
import ssl
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from functools import cached_property

from qdoctor.mining.errors import UnreadableRelease

_TRIES = 4
_AGAIN = (408, 429, 500, 502, 503, 504)
_PARTIAL = 206
_BROKEN = (http.client.HTTPException, OSError)


@dataclass
class Transport:
    """How pip reaches the index (certificate, time limit), and how many bytes came through."""

    certificate: str | None = None
    seconds: float = 60.0
    pause: float = 1.0
    received: int = 0
    requests: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.certificate)

    def get(self, url: str, *, accept: str, largest: int) -> tuple[bytes, str]:
        """Fetch ``url``: its bytes, at most ``largest``, and its content type."""
        body, headers = self._fetch(url, {"Accept": accept}, largest, 200)
        return body, headers.get_content_type()

    def range(self, url: str, start: int, length: int) -> bytes:
        """Fetch bytes ``start`` to ``start + length`` of ``url``, exactly.

        Raises ``UnreadableRelease`` where the server sends other bytes than those asked for.
        """
        wanted = f"bytes={start}-{start + length - 1}"
        body, headers = self._fetch(url, {"Range": wanted}, length, _PARTIAL)
        said = headers.get("Content-Range", "")
        if not said.startswith(f"bytes {start}-") or len(body) != length:
            raise UnreadableRelease(
                f"{_name(url)}: asked for {wanted}, got {said!r}, {len(body)} B"
            )
        return body

    def length(self, url: str) -> int:
        """Ask how many bytes ``url`` has, by its first byte: servers must do ranges."""
        _body, headers = self._fetch(url, {"Range": "bytes=0-0"}, 1, _PARTIAL)
        total = headers.get("Content-Range", "").rpartition("/")[2]
        if not total.isdecimal():
            raise UnreadableRelease(f"{_name(url)}: the server does not say its length")
        return int(total)

    def _fetch(
        self, url: str, headers: dict[str, str], largest: int, status: int
    ) -> tuple[bytes, http.client.HTTPMessage]:
        for attempt in range(_TRIES):
            try:
                return self._once(url, headers, largest, status)
            except urllib.error.HTTPError as error:
                error.close()
                reason = f"the server answered {error.code} {error.reason}"
                if error.code not in _AGAIN:
                    break
            except _BROKEN as error:
                reason = str(getattr(error, "reason", error)) or type(error).__name__
            time.sleep(self.pause * 2**attempt if attempt < _TRIES - 1 else 0)
        raise UnreadableRelease(f"{_name(url)}: {reason}")

    def _once(
        self, url: str, headers: dict[str, str], largest: int, status: int
    ) -> tuple[bytes, http.client.HTTPMessage]:
        if not url.startswith(("https://", "http://")):
            raise UnreadableRelease(f"{_name(url)}: only http and https are read")
        request = urllib.request.Request(url, headers={"User-Agent": "qdoctor-mining", **headers})  # noqa: S310 - checked above
        with urllib.request.urlopen(request, timeout=self.seconds, context=self._context) as answer:  # noqa: S310
            if answer.status != status:
                raise UnreadableRelease(f"{_name(url)}: answered {answer.status}, not {status}")
            body: bytes = answer.read(largest + 1)
        with self._lock:
            self.received += len(body)
            self.requests += 1
        if len(body) > largest:
            raise UnreadableRelease(f"{_name(url)}: more than {largest} bytes")
        return body, answer.headers


def _name(url: str) -> str:
    """Name a file in a message: the host is the user's business."""
    return url.split("#", 1)[0].rstrip("/").rsplit("/", 1)[-1]
