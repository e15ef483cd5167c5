from __future__ import annotations

from reverse_codi.cli.bench_rewards import shown
from reverse_codi.evaluation.reward_trials.timing import make_rows, measured
from reverse_codi.reading.metric import ThoughtMetric


def test_the_read_is_paid_once_for_five_rewards(tiny_metric: ThoughtMetric) -> None:
    rows = make_rows(tiny_metric, 12)
    assert len(set(rows.texts)) == 12
    assert {str(site) for site in rows.sites} == {"h0", "h1", "h2"}
    timings = measured(tiny_metric, rows, rounds=1)
    assert [timing.read for timing in timings] == [12, 12, 12, 60]
    assert all(timing.rate > 0 for timing in timings)
    assert len(shown(timings).rows) == 4
