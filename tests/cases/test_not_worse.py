"""The diagnosis does not get worse on the kept cases than recorded.json says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdoctor.matrix import shipped

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

RENEW = "if meant, renew: python benchmarks/cases.py tests/cases/FILE.jsonl --record"


def test_as_good_as_recorded_on_every_file(
    scorer: ModuleType, files: list[Path], recorded: dict[str, dict[str, int]]
) -> None:
    assert sorted(recorded) == [path.name for path in files]
    for path in files:
        scores = [scorer.score(one, shipped()) for one in scorer.read(path) if one.scorable]
        now, before = scorer.summary(scores), recorded[path.name]
        for kind in ("scorable", "healthy", "fix_judged"):
            assert now[kind] == before[kind], f"{path.name}: other cases; {RENEW}"
        for kind in ("cause_first", "cause_top3", "fix"):
            assert now[kind] >= before[kind], f"{path.name}, {kind}; {RENEW}"
        assert now["false_alarms"] <= before["false_alarms"], f"{path.name}; {RENEW}"
