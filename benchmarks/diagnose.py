"""How many machines a second are diagnosed on one core, and whether time grows with their number.

The matrix is loaded and every machine has been seen once before the clock starts. The machines are
those of ``tests/generated``: half of them consistent, half with one fault. Usage, from the
repository: ``python -m benchmarks.diagnose [--runs N] [--seed N]``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING

from qdoctor import diagnose
from tests.generated.faults import planted
from tests.generated.machines import healthy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdoctor.model import Facts

SIZES = (100, 200, 400, 800)
LOG = "ModuleNotFoundError: No module named 'triton.ops'"

Machine = tuple["Facts", tuple[str, ...]]


def machines(seed: int) -> list[Machine]:
    """As many machines as the largest size asks for, healthy and faulty in turn."""
    count = SIZES[-1] // 2
    pairs = zip(healthy(count, seed), planted(count, seed), strict=True)
    return [one for facts, case in pairs for one in ((facts, ()), (case.facts, case.need))]


def a_second(some: Sequence[Machine], error: str | None) -> float:
    """Diagnose each machine once; machines a second."""
    start = time.perf_counter()
    for facts, need in some:
        diagnose(facts, error, need=need)
    return len(some) / (time.perf_counter() - start)


def main() -> None:
    """Print the median and the spread for each number of machines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    some = machines(asked.seed)
    a_second(some, LOG)
    for name, error in (("facts alone", None), ("with an error text", LOG)):
        for size in SIZES:
            rates = [a_second(some[:size], error) for _ in range(asked.runs)]
            print(
                f"{name}, {size} machines: {statistics.median(rates):.0f} a second"
                f" ({min(rates):.0f} to {max(rates):.0f})"
            )


if __name__ == "__main__":
    main()
