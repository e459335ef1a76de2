"""One rank of a gloo group: agrees, and writes what it got. Started by test_agreement.py.

Arguments: rank, size, rendezvous file, output file, and what is to happen as JSON: ``kinds`` (what
device each rank pretends to have), ``speed`` (of the int8 candidate there), ``dies`` (the rank that
is killed while it finds the answer, or before it asks), ``raises``, ``late``, ``require``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import torch.distributed as dist  # noqa: TID253 - this one is the user of torch

from qdoctor.choosing import agreement, board
from qdoctor.choosing.cache_reading import Kept
from qdoctor.choosing.request import Request
from qdoctor.model import Candidate, SelectedFor, Selection, Timed


def cell(milliseconds: float, error: float, size: float) -> Timed:
    return Timed(
        rows=4096,
        depth=1024,
        columns=4096,
        milliseconds=milliseconds,
        p10=milliseconds * 0.99,
        p90=milliseconds * 1.01,
        rel_error=error,
        weight_bytes_per_param=size,
        repetitions=50,
    )


def candidate(name: str, usable: str, one: Timed | None) -> Candidate:
    return msgspec.convert(
        {
            "backend": name,
            "usable": usable,
            "reason": f"{name} was looked at",
            "shapes": [] if one is None else [msgspec.to_builtins(one)],
        },
        Candidate,
    )


def selection(request: Request, device: str, speed: float, nf4: str) -> Selection:
    """What a device of that name would have measured; half takes 1 ms there."""
    return Selection(
        asked=request.asked(),
        selected="bnb-int8" if speed > 1 else "half",
        reason="made up",
        device=SelectedFor(device, "9.0"),
        measured=True,
        seconds=1.0,
        candidates=[
            candidate("half", "yes", cell(1.0, 0.0017, 2.0)),
            candidate("bnb-int8", "yes", cell(1 / speed, 0.012, 1.0)),
            candidate("bnb-nf4", nf4, cell(1.1, 0.04, 0.56) if nf4 == "yes" else None),
        ],
    )


class OldStore:
    """A store as before torch 2.9, which cannot say whether a key is there."""

    def __init__(self, store: Any) -> None:  # noqa: ANN401 - torch's
        self.set, self.get, self.add = store.set, store.get, store.add
        self.compare_set = store.compare_set


def hosted(folder: Path, rank: int, size: int) -> Any:  # noqa: ANN401 - torch's
    """A store that the first rank hosts, as torchrun's: it ends with that rank."""
    port = folder / "port"
    if rank == 0:
        store = dist.TCPStore("127.0.0.1", 0, size, is_master=True, wait_for_workers=False)
        port.with_suffix(".part").write_text(str(store.port))
        port.with_suffix(".part").replace(port)
        return store
    hesitate(board.Board)
    while not port.exists():
        time.sleep(0.02)
    return dist.TCPStore("127.0.0.1", int(port.read_text()), size, wait_for_workers=False)


def hesitate(own: Any) -> None:  # noqa: ANN401 - the class Board
    """Let a rank be the last to hear of the outcome."""
    settle = own.settle

    def late(self: Any, name: str, value: Any) -> Any:  # noqa: ANN401
        time.sleep(0.7)
        return settle(self, name, value)

    own.settle = late


def main() -> None:
    rank, size = int(sys.argv[1]), int(sys.argv[2])
    plan: dict[str, Any] = json.loads(sys.argv[5])
    timeout = timedelta(seconds=plan.get("timeout", 60))
    place = Path(sys.argv[3])
    store = (
        hosted(place.parent, rank, size) if plan.get("hosted") else dist.FileStore(str(place), size)
    )
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=timeout)
    device = plan["kinds"][rank]

    def answer(request: Request, _: object) -> Kept:
        Path(f"{sys.argv[4]}.found").write_text(device, encoding="utf-8")
        if plan.get("dies") == rank:
            os.kill(os.getpid(), signal.SIGKILL)
        if plan.get("raises") == rank:
            raise OSError("the disk is on fire")
        time.sleep(plan.get("takes", 0.2))
        made = selection(request, device, *plan.get("found", {}).get(device, (2.0, "yes")))
        return Kept(made.selected, msgspec.json.encode(made))

    def ask() -> Request:
        if plan.get("confused") == rank:
            return Request("latancy")
        return Request(plan.get("objectives", ["latency"] * size)[rank])

    if plan.get("old"):
        whole = board.board_of
        vars(agreement)["board_of"] = lambda group: (OldStore(whole(group)[0]), *whole(group)[1:])
    if plan.get("absent") == rank:
        os.kill(os.getpid(), signal.SIGKILL)
    agreement.SILENT_SECONDS = plan.get("silent", 20.0)
    agreement.FAREWELL_SECONDS = plan.get("farewell", 5.0)
    for number in range(plan.get("rounds", 1)):
        began = time.monotonic()
        try:
            kept = agreement.agreed(
                dist.group.WORLD,
                ask,
                os.environ,
                require=plan.get("require"),
                answer=answer,
                kind=lambda *_: device,
            )
            told = {"selected": kept.selected, "body": json.loads(kept.body)}
        except Exception as error:  # noqa: BLE001 - what it is, is what is tested
            told = {"error": type(error).__name__, "text": str(error)}
        told["seconds"] = time.monotonic() - began
        Path(f"{sys.argv[4]}.{number}").write_text(json.dumps(told), encoding="utf-8")
    os._exit(0)  # a group with a dead member cannot be destroyed


if __name__ == "__main__":
    main()
