"""``quantize_`` of models that are spread over processes: refused, or left alone layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

torch = pytest.importorskip("torch")

from qdoctor.backends.replacing import quantize_  # noqa: E402 - torch first

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def _one_process(tmp_path: Path) -> Iterator[None]:
    """A process group of this process alone."""
    distributed = pytest.importorskip("torch.distributed")
    if not distributed.is_available() or not distributed.is_gloo_available():
        pytest.skip("this torch has no gloo")
    distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1
    )
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures("_one_process")
def test_a_model_that_is_wrapped_for_training_is_refused() -> None:
    wrapped = torch.nn.parallel.DistributedDataParallel(
        torch.nn.Sequential(torch.nn.Linear(64, 64))
    )
    with pytest.raises(ValueError, match="quantize the model first, then wrap it"):
        quantize_(wrapped, "half")
    with pytest.raises(ValueError, match="part is a DistributedDataParallel"):
        quantize_(torch.nn.ModuleDict({"part": wrapped}), "half")


@pytest.mark.filterwarnings("ignore")  # FSDP has much to say of a single process on a CPU
@pytest.mark.usefixtures("_one_process")
@pytest.mark.parametrize("original", [False, True])
def test_a_model_that_is_sharded_flat_is_refused(*, original: bool) -> None:
    fsdp = pytest.importorskip("torch.distributed.fsdp")
    wrapped = fsdp.FullyShardedDataParallel(
        torch.nn.Sequential(torch.nn.Linear(64, 64)),
        use_orig_params=original,
        device_id=torch.device("cpu"),
    )
    with pytest.raises(ValueError, match="is a FullyShardedDataParallel"):
        quantize_(wrapped, "half")


@pytest.mark.usefixtures("_one_process")
def test_sharded_weights_are_left_alone() -> None:
    tensors = pytest.importorskip("torch.distributed.tensor")
    mesh = pytest.importorskip("torch.distributed.device_mesh").init_device_mesh("cpu", (1,))
    sharded, plain = torch.nn.Linear(64, 64), torch.nn.Linear(64, 64)
    spread = tensors.distribute_tensor(sharded.weight.detach(), mesh, [tensors.Shard(0)])
    sharded.weight = torch.nn.Parameter(spread)
    done = quantize_(torch.nn.ModuleDict({"sharded": sharded, "plain": plain}), "half")
    assert done.replaced == ("plain",)
    assert "DTensor" in done.skipped["sharded"]
