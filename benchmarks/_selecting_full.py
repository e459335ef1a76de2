"""What the first call does on a GPU that others have filled. For selecting.py."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LEFT_MIB = 300
FILL = """
import sys, torch
left = int(sys.argv[1]) * 2**20
held = []
size = 2**30
while size >= 2**20:
    free = torch.cuda.mem_get_info()[0]
    if free - size < left:
        size //= 2
        continue
    try:
        held.append(torch.empty(size, dtype=torch.uint8, device="cuda"))
    except torch.OutOfMemoryError:
        size //= 2
print("filled", torch.cuda.mem_get_info()[0] >> 20, flush=True)
sys.stdin.readline()
"""


@contextlib.contextmanager
def filled(left_mib: int = LEFT_MIB, seconds: float = 60.0) -> Iterator[int]:
    """Let another process hold all of the first GPU's memory but so much; yield the MiB left.

    Raises ``RuntimeError`` where that process cannot do it.
    """
    with subprocess.Popen(
        [sys.executable, "-c", FILL, str(left_mib)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as holder:  # fmt: skip
        try:
            if holder.stdout is None:
                raise RuntimeError("no pipe to the process that fills the GPU")
            line = holder.stdout.readline()
            if not line.startswith("filled "):
                errors = holder.communicate(timeout=seconds)[1].strip().rpartition("\n")[2]
                raise RuntimeError(f"the GPU could not be filled: {errors}")
            yield int(line.split()[1])
        finally:
            holder.kill()
