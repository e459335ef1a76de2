from __future__ import annotations

import io
import struct
import zipfile
from typing import TYPE_CHECKING

import pytest
from packaging.tags import Tag
from packaging.version import Version

from qdoctor.mining import wheel as wheel_module
from qdoctor.mining.errors import UnreadableRelease
from qdoctor.mining.index import WheelFile
from qdoctor.mining.wheel import Wheel, open_wheel

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdoctor.mining.http import Transport
    from tests.mining.conftest import Index

NAME = "demo-1.0-py3-none-any.whl"


def listed(url: str = "") -> WheelFile:
    tags = frozenset({Tag("py3", "none", "any")})
    return WheelFile(NAME, url, "0" * 64, Version("1.0"), (), tags, "", yanked=False)


def local(data: bytes) -> Wheel:
    return Wheel(listed(), io.BytesIO(data))


@pytest.fixture
def served(index: Index) -> Callable[[bytes], WheelFile]:
    def serve(data: bytes) -> WheelFile:
        index.add("demo", {NAME: data})
        return listed(index.url.replace("/wheels/", f"/files/{NAME}"))

    return serve


def archive(members: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, body in members.items():
            opened.writestr(zipfile.ZipInfo(name), body)
    return target.getvalue()


def test_one_member_of_a_big_wheel_costs_little(
    served: Callable[[bytes], WheelFile], transport: Transport, make_wheel: Callable[..., bytes]
) -> None:
    noise = bytes((i * i * 2654435761 >> 13) & 255 for i in range(1_500_000))
    data = make_wheel("demo", "1.0", {"demo/a.py": "x = 1\n", "demo/big.so": noise})
    assert len(data) > 700_000
    with open_wheel(served(data), transport) as wheel:
        assert wheel.text("demo/a.py") == "x = 1\n"
        assert wheel.metadata()["Version"] == "1.0"
        assert transport.received < len(data) / 2
        with wheel.opened("demo/big.so") as file:
            assert file.read() == noise
            assert file.seek(7) == 7


@pytest.mark.parametrize("name", ["../evil.py", "/etc/evil", "a/../../b", "C:/evil", "a\\..\\b"])
def test_members_that_leave_the_archive_are_refused(name: str) -> None:
    with pytest.raises(UnreadableRelease, match="leaves the archive"):
        local(archive({name: b"x"}))


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    wheel = local(archive({"demo/bomb.py": bytes(wheel_module._LARGEST_TEXT + 1)}))
    with pytest.raises(UnreadableRelease, match="claims"):
        wheel.text("demo/bomb.py")


@pytest.mark.parametrize("claimed", [10, 2**31])
def test_a_member_that_lies_about_its_size_is_refused(claimed: int) -> None:
    data = bytearray(archive({"demo/a.so": b"y" * 5000}))
    entry = data.rindex(b"PK\x01\x02")
    struct.pack_into("<I", data, entry + 24, claimed)
    wheel = local(bytes(data))
    with pytest.raises(UnreadableRelease, match=r"a\.so"), wheel.opened("demo/a.so"):
        pass


def test_a_damaged_member_is_refused() -> None:
    data = bytearray(archive({"demo/a.so": bytes(range(256)) * 40}))
    data[60] ^= 0xFF
    with pytest.raises(UnreadableRelease), local(bytes(data)).opened("demo/a.so"):
        pass


@pytest.mark.parametrize("data", [b"", b"PK", b"x" * 5000])
def test_what_is_no_archive_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableRelease, match="ZIP"):
        local(data)


def test_a_truncated_archive_is_refused(make_wheel: Callable[..., bytes]) -> None:
    data = make_wheel("demo", "1.0", {"demo/a.py": "x = 1\n"})
    with pytest.raises(UnreadableRelease, match="ZIP"):
        local(data[: len(data) // 2])


def test_too_many_members_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheel_module, "_MOST_MEMBERS", 3)
    with pytest.raises(UnreadableRelease, match="more than 3"):
        local(archive({f"m{number}": b"" for number in range(4)}))


def test_a_missing_member_and_missing_metadata_are_named() -> None:
    wheel = local(archive({"demo/a.py": b""}))
    with pytest.raises(UnreadableRelease, match="no member demo/b"):
        wheel.text("demo/b.py")
    with pytest.raises(UnreadableRelease, match="0 METADATA"):
        wheel.metadata()


@pytest.mark.parametrize("fault", ["no ranges", "shifted", "short"])
def test_a_server_that_sends_other_bytes_is_refused(
    index: Index,
    served: Callable[[bytes], WheelFile],
    transport: Transport,
    make_wheel: Callable[..., bytes],
    fault: str,
) -> None:
    file = served(make_wheel("demo", "1.0", {"demo/a.py": "x"}))
    index.faults[f"/files/{NAME}"] = ["", *[fault] * 9] if fault != "no ranges" else [fault] * 9
    with pytest.raises(UnreadableRelease, match="demo-1"), open_wheel(file, transport):
        pass


def test_passing_faults_of_the_server_are_tried_again(
    index: Index,
    served: Callable[[bytes], WheelFile],
    transport: Transport,
    make_wheel: Callable[..., bytes],
) -> None:
    file = served(make_wheel("demo", "1.0", {"demo/a.py": "x"}))
    index.faults[f"/files/{NAME}"] = ["503", "429"]
    with open_wheel(file, transport) as wheel:
        assert wheel.text("demo/a.py") == "x"


def test_a_lasting_fault_is_reported_without_the_host(
    index: Index, served: Callable[[bytes], WheelFile], transport: Transport
) -> None:
    file = served(b"x")
    index.faults[f"/files/{NAME}"] = ["404"]
    with pytest.raises(UnreadableRelease, match="404") as caught, open_wheel(file, transport):
        pass
    assert "127.0.0.1" not in str(caught.value)
    assert len(index.asked) == 1


def test_other_protocols_are_refused(transport: Transport) -> None:
    with pytest.raises(UnreadableRelease, match="only http"):
        open_wheel(listed("file:///etc/passwd"), transport).__enter__()
