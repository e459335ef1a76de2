"""Old data is said to be old, in every report; how old is too old is data."""

from __future__ import annotations

import io
from datetime import date, timedelta

from qdoctor import freshness
from qdoctor.doctor import examine
from qdoctor.matrix import shipped
from qdoctor.question import Question

FACTS = b'{"schema": "qdoctor/facts/1"}'


def changed() -> date:
    return date(*map(int, shipped().version.split(".")))


def test_the_age_is_in_days() -> None:
    assert freshness.age(shipped(), changed()) == 0
    assert freshness.age(shipped(), changed() + timedelta(days=40)) == 40
    assert freshness.age(shipped(), changed() - timedelta(days=40)) == 0


def test_a_report_says_that_the_data_is_old() -> None:
    limit = shipped().table("freshness")["rows"]["matrix"]["days"]
    for days, said in ((limit, False), (limit + 1, True)):
        day = changed() + timedelta(days=days)
        report = examine(Question(facts_file="-"), stdin=io.BytesIO(FACTS), day=day)
        told = [one for one in report.target.assumptions if f"{days} days old" in one]
        assert bool(told) is said
