from __future__ import annotations

import pytest
import torch

from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.rewards.candidates import Candidates
from reverse_codi.rewards.scoring import Scores
from reverse_codi.training.learning_signal import PATIENCE, LearningSignal, NothingLearntError, check_fits
from tests.tiny import make_rows


def rows(finished: list[bool], texts: list[str] | None = None) -> Candidates:
    """Two thoughts with two texts each."""
    questions = ["a", "a", "b", "b"]
    return make_rows(
        texts or ["12 + 5 = 17."] * 4, torch.zeros(4, 3), Site("h", 0), finished=finished, questions=questions
    )


def scores(*columns: list[float | None], weights: tuple[float, ...] = ()) -> Scores:
    named = {f"r{i}": column for i, column in enumerate(columns)}
    weight = dict(zip(named, weights or (1.0,) * len(columns), strict=True))
    total = [sum(weight[n] * (c[i] or 0.0) for n, c in named.items()) for i in range(4)]
    return Scores(
        raw=named, columns=named, weights=weight, total=total, match=[None] * 4, scalars={}, read_s=0.0,
        reward_s=0.0, n_read=0,
    )  # fmt: skip


DIFFER, ALIKE = scores([0.0, 1.0, 0.5, 0.5]), scores([1.0, 1.0, 0.5, 0.5])
WHOLE, CUT = rows([True] * 4), rows([False] * 4)


def made(by_column: bool = False) -> LearningSignal:
    return LearningSignal(24, by_column)


def test_texts_that_are_all_cut_stop_the_run_with_the_key_to_change() -> None:
    signal = made()
    for step in range(PATIENCE - 1):
        signal(step, CUT, ALIKE)
    signal(PATIENCE - 1, WHOLE, DIFFER)  # one good batch, and the count begins anew
    for step in range(PATIENCE - 1):
        signal(step, CUT, ALIKE)
    with pytest.raises(NothingLearntError) as stopped:
        signal(9, rows([False, False, False, True], ["x", "y", "z", ""]), ALIKE)
    assert "no text of the last 5 batches, up to step 10, could be scored: 3 of the last 4" in str(
        stopped.value
    )
    assert "grpo.max_new_tokens = 24" in str(stopped.value)


def test_rewards_that_teach_nothing_are_reported_every_few_batches(caplog: pytest.LogCaptureFixture) -> None:
    signal = made()
    for step in range(2 * PATIENCE):
        signal(step, WHOLE, ALIKE)
    printed = caplog.messages
    assert [line.split(":")[0] for line in printed] == ["step 5", "step 10"]
    assert "in 10 batches in a row all texts of a thought got the same reward" in printed[1]
    signal(10, WHOLE, DIFFER)
    assert signal.flat == 0


def test_what_counts_is_what_trl_compares() -> None:
    against = scores([0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 1.0, 0.0])  # the sum is the same for all
    for by_column, flat in ((False, 1), (True, 0)):
        signal = made(by_column)
        signal(0, WHOLE, against)
        assert signal.flat == flat
    signal = made(by_column=True)
    signal(0, WHOLE, scores([0.0, 1.0, 0.0, 1.0], weights=(0.0,)))
    assert signal.flat == 1
    signal(1, WHOLE, scores([None, 1.0, 0.0, 0.0]))  # where a reward does not apply TRL counts 0
    assert signal.flat == 0


def test_a_limit_that_cuts_every_taught_text_is_refused(tiny_reasoner: CodiReasoner) -> None:
    texts = ["12 + 5 = 17.", "(no step)", "12 + 5 = 17. 17 * 2 = 34.", "12 + 5 = 17."]
    tokenizer = tiny_reasoner.tokenizer
    shortest, longest = len(tiny_reasoner.ids(texts[1])) + 1, len(tiny_reasoner.ids(texts[2])) + 1
    with pytest.raises(
        NothingLearntError, match=rf"max_new_tokens = {shortest - 1} cuts every .* to {longest} or"
    ):
        check_fits(texts, tokenizer, shortest - 1)
    message = check_fits(texts, tokenizer, longest - 1)
    assert message.startswith("25% of the texts") and f"the longest has {longest} tokens" in message
    assert check_fits(texts, tokenizer, longest) == check_fits([], tokenizer, 1) == ""
