"""CUDA_VISIBLE_DEVICES chooses and orders as CUDA does."""

from __future__ import annotations

import pytest

from qdoctor.facts.visible import Device, Slice, visible_units

A = Device(name="A", uuid="GPU-aa11-1")
B = Device(name="B", uuid="GPU-aa22-2")
C = Device(name="C", uuid="GPU-bb33-3")
S1 = Slice(uuid="MIG-5511", profile="1g.5gb", gi=7, ci=0)
S2 = Slice(uuid="MIG-5522", profile="2g.10gb", gi=3, ci=0)
M = Device(name="M", uuid="GPU-cc44", mig=True, slices=[S1, S2])


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (None, "ABC"),
        ("", ""),
        ("-1", ""),
        ("2,0", "CA"),
        (" 1 , 2", "BC"),
        ("0,7,1", "A"),
        ("0,-1,1", "A"),
        ("1,x,2", "B"),
        ("0,1,0", ""),
        ("NoDevFiles", ""),
        ("1gpu,2", "BC"),
        ("GPU-bb33-3,GPU-aa11-1", "CA"),
        ("GPU-bb", "C"),
        ("GPU-aa", ""),
        ("GPU-bb,GPU-zz,GPU-aa11", "C"),
        ("GPU-aa11,GPU-aa11-1", ""),
        ("gpu-bb33-3", ""),
        ("GPU-BB33-3", "C"),
        ("GPU-", ""),
        ("GPU-bb33-3,0", "C"),
        ("0,GPU-bb33-3", "A"),
        (",0", ""),
        ("0,,1", "A"),
        ("00", "A"),
        ("+1", "B"),
        ("1.5", "B"),
        ("0," + "9" * 5000, "A"),
        ("0" * 5000 + "1", "B"),
        ("\u0661", ""),
    ],
)
def test_entries_are_read_as_cuda_reads_them(value: str | None, names: str) -> None:
    units = visible_units([A, B, C], value)
    assert units is not None
    assert "".join(unit.device.name or "?" for unit in units) == names


@pytest.mark.parametrize(
    ("value", "part"),
    [
        (None, S1),
        ("MIG-5522", S2),
        ("MIG-5522,MIG-5511", S2),
        ("MIG-GPU-cc44/3/0", S2),
        ("MIG-GPU-cc44/9/0", None),
        ("GPU-cc44", S1),
        ("1", S1),
    ],
)
def test_of_mig_slices_one_is_seen_and_nothing_beside_it(
    value: str | None, part: Slice | None
) -> None:
    units = visible_units([A, M], value)
    assert units is not None
    assert [unit.part for unit in units] == ([part] if part else [])


def test_a_gpu_in_mig_mode_without_slices_cannot_be_used() -> None:
    units = visible_units([Device(name="M", mig=True), A], None)
    assert units is not None
    assert [unit.device for unit in units] == [A]


def test_uuids_cannot_be_resolved_where_the_driver_does_not_tell_them() -> None:
    unknown = [Device(name="A"), Device(name="B")]
    assert visible_units(unknown, "GPU-aa11-1") is None
    assert visible_units(unknown, "1") is not None
    assert visible_units(unknown, "nonsense") == []
