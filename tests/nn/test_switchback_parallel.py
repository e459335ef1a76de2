"""SwitchBackLinear in two processes: gradients averaged by DDP, weights sharded by FSDP."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

torch = pytest.importorskip("torch")

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()),
    reason="this torch has no gloo",
)

RANK = """
import sys, torch
import torch.distributed as dist
from qdoctor import nn

rank, store, how = int(sys.argv[1]), sys.argv[2], sys.argv[3]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=2)
mesh = dist.init_device_mesh("cpu", (2,))


def model():
    torch.manual_seed(7)
    return torch.nn.Sequential(
        nn.SwitchBackLinearVectorwise(32, 48), torch.nn.GELU(),
        nn.SwitchBackLinearGlobalMemEfficient(48, 40), torch.nn.GELU(),
        nn.SwitchBackLinearGlobal(40, 16),
    )


def same(ours, wanted, close):
    for one, other in zip(ours, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=close, atol=1e-6)


torch.manual_seed(3)
x = torch.randn(8, 32)
whole, ours = model(), model()
whole(x).square().mean().backward()
wanted = [p.grad for p in whole.parameters()]
mine = x[4 * rank :][:4]
"""
WAYS = {
    "ddp": """
wrapped = torch.nn.parallel.DistributedDataParallel(ours)
wrapped(mine).square().mean().backward()
same([p.grad for p in ours.parameters()], wanted, 1e-4)
""",
    "fsdp1": """
from torch.distributed.fsdp import FullyShardedDataParallel
wrapped = FullyShardedDataParallel(ours, device_id=torch.device("cpu"), use_orig_params=True)
wrapped(mine).square().mean().backward()
with FullyShardedDataParallel.summon_full_params(wrapped, with_grads=True):
    same([p.grad for p in wrapped.parameters()], wanted, 1e-4)
""",
    "fsdp2": """
from torch.distributed.fsdp import fully_shard
for layer in ours[::2]:
    fully_shard(layer, mesh=mesh)
fully_shard(ours, mesh=mesh)
ours(mine).square().mean().backward()
same([p.grad.full_tensor() for p in ours.parameters()], wanted, 1e-4)
assert sorted(ours.state_dict()) == sorted(whole.state_dict())
""",
    "fsdp2-bf16": """
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
fully_shard(ours, mesh=mesh, mp_policy=policy)
y = ours(mine)
assert y.dtype == torch.bfloat16
y.float().square().mean().backward()
for p, exact in zip(ours.parameters(), wanted, strict=True):
    assert (p.grad.full_tensor() - exact).norm() <= 0.05 * exact.norm()
""",
    "prepared": """
from torch.distributed.fsdp import fully_shard
for layer in ours.eval()[::2]:
    layer.prepare_for_eval()
before = ours(x)
fully_shard(ours, mesh=mesh)  # int8 buffers stay whole on every rank; biases are sharded
assert torch.equal(ours(x), before)
""",
}
END = """
dist.destroy_process_group()
print("agreed")
"""


@pytest.mark.parametrize("how", WAYS)
def test_two_processes_compute_what_one_does(how: str, checkout: Path, tmp_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(checkout)!r})\n" + RANK + WAYS[how] + END
    command = [sys.executable, "-W", "ignore", "-c", code]
    ranks = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path / "store"), how],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        told = [rank.communicate(timeout=120) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    for out, error in told:
        assert out.endswith("agreed\n"), error[-2000:]
