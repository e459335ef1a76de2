"""How many machines a second are diagnosed on one core, and whether time grows with their number.

The matrix is loaded and every machine has been seen once before the clock starts; a last line is of
a quarter as many that are seen for the first time then. They are those of ``tests/generated``: half
of them consistent, half with one fault. CPU time of one process, so that what else runs counts
little. Usage: ``python benchmarks/diagnose.py [--machines N] [--runs N] [--seed N]``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

_ROOT = str(Path(__file__).resolve().parent.parent)
if sys.path[0] != _ROOT:  # in place of this folder, whose inspect.py is not the library's
    sys.path[:1] = [_ROOT]

from qdoctor import diagnose  # noqa: E402 - see above
from tests.generated.faults import planted  # noqa: E402
from tests.generated.machines import healthy  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdoctor.model import Facts

LOG = "ModuleNotFoundError: No module named 'triton.ops'"
PARTS = (8, 4, 2, 1)
"""What part of the machines is diagnosed, one after the other."""

Machine = tuple["Facts", tuple[str, ...]]


def machines(count: int, seed: int) -> list[Machine]:
    """``count`` machines, healthy and faulty in turn."""
    pairs = zip(healthy(count // 2, seed), planted(count // 2, seed), strict=True)
    return [one for facts, case in pairs for one in ((facts, ()), (case.facts, case.need))]


def a_second(some: Sequence[Machine], error: str | None) -> float:
    """Diagnose each machine once; machines a second of CPU time."""
    start = time.process_time()
    for facts, need in some:
        diagnose(facts, error, need=need)
    return len(some) / (time.process_time() - start)


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--machines", type=_eighths, default=800, metavar="N", help="at most so many (800)"
    )
    parser.add_argument("--runs", type=_positive, default=5, metavar="N", help="of each (5)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the machines (0)")
    return parser.parse_args()


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("at least 1 is meant")
    return number


def _eighths(text: str) -> int:
    """Read how many machines: an eighth of them are diagnosed first, a healthy one for each ill."""
    number = int(text)
    if number < 1 or number % (2 * PARTS[0]):
        raise argparse.ArgumentTypeError(f"a multiple of {2 * PARTS[0]} is meant")
    return number


def main() -> None:
    """Print the median and the spread for each number of machines."""
    asked = _parsed()
    some = machines(asked.machines, asked.seed)
    new = machines(asked.machines // 2, asked.seed + 1)
    unseen = new[: len(new) // 2], new[len(new) // 2 :]
    asks = (("facts alone", None), ("with an error text", LOG))
    for (name, error), others in zip(asks, unseen, strict=True):
        a_second(some, error)
        for part in PARTS:
            few = some[: asked.machines // part]
            rates = [a_second(few, error) for _ in range(asked.runs)]
            print(
                f"{name}, {len(few)} machines: {statistics.median(rates):.0f} a second"
                f" ({min(rates):.0f} to {max(rates):.0f})"
            )
        print(f"{name}, {len(others)} not seen before: {a_second(others, error):.0f} a second")


if __name__ == "__main__":
    main()
