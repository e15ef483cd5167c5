from __future__ import annotations

import pytest

from reverse_codi.processes import under_way


@pytest.fixture(autouse=True)
def nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test before left, a Trainer that raised within a step, is not of this one."""
    monkeypatch.setattr(under_way, "now", under_way.Doing())


def test_what_is_under_way_in_words() -> None:
    assert under_way.described() == ""
    with under_way.stage("grpo"):
        assert under_way.described() == "grpo"
        under_way.at_step(12)
        with under_way.phase("score"), under_way.waiting("reward actor 1"):
            assert under_way.described() == "grpo, step 12, score (waiting for reward actor 1)"
        under_way.begin_phase("train")
        assert under_way.described() == "grpo, step 12, train"
        under_way.at_step(13)
        assert under_way.described() == "grpo, step 13"
    assert under_way.described() == ""


def test_listeners_hear_each_phase_and_waiting_alone_moves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[tuple[int, str]] = []
    monkeypatch.setattr(under_way, "listeners", [lambda doing: heard.append((doing.step, doing.phase))])
    under_way.at_step(3)
    with under_way.phase("sync"):
        pass
    under_way.begin_phase("train")
    assert heard == [(3, "sync"), (3, "train")]
    under_way.now.moved -= 100
    with under_way.waiting("rollout actor 0"):
        pass
    assert under_way.still_for() > 99
    under_way.at_step(0)
    assert under_way.still_for() < 1
