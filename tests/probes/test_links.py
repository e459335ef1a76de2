"""The processes of the zygote: which there are, and whom a signal may reach."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from qdoctor.probes import links

linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux")


@linux
def test_whoever_asks_may_have_closed_the_standard_streams(tmp_path: Path) -> None:
    """As daemons do: their numbers come again, and are the child's own streams in the child."""
    code = """if True:
        import os, sys
        from qdoctor.probes.links import Link
        os.closerange(0, 3)
        links = [Link("torch", None), Link("triton", 0)]
        with open(sys.argv[1], "w") as file:
            print(*(link.theirs.fileno() for link in links), file=file)
    """
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    argv = [sys.executable, "-c", code, str(tmp_path / "numbers")]
    subprocess.run(argv, env=environ, timeout=60, check=True)
    numbers = (tmp_path / "numbers").read_text().split()
    assert len(numbers) == 2
    assert all(int(number) > 2 for number in numbers)


@linux
def test_a_link_that_is_lost_is_sent_a_signal_only_if_the_number_still_is_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may have ended, orphaned and collected, before anybody told of its end."""
    sent: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, _: sent.append(pid))
    for session in (os.getsid(0), os.getsid(0) + 1, None):
        link = links.Link("torch", None)
        link.pid, link.session = os.getpid(), session
        link.lose("it hangs")
        link.theirs.close()
    assert sent == [os.getpid()]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ([["torch"]], [("torch", None)]),
        ([["triton"]], [("triton", None)]),
        ([["bitsandbytes"]], [("torch", None), ("bitsandbytes", 0)]),
        (
            [["torch"], ["torch", "triton"], ["torch", "torchao"], ["bitsandbytes"]],
            [("torch", None), ("triton", 0), ("bitsandbytes", 1), ("torchao", 1)],
        ),
    ],
)
def test_what_builds_on_torch_and_triton_follows_them(
    wanted: list[list[str]], expected: list[tuple[str, int | None]]
) -> None:
    assert links.tree(wanted) == expected
