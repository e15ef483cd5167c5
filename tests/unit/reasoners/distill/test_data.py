from __future__ import annotations

import pytest
import torch
from torch import Tensor

from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.distill.data import Collator, ProblemRows, padded
from tests.tiny import make_problems

PROBLEMS = make_problems(64, seed=4)


@pytest.fixture(scope="module")
def rows(tiny_reasoner: CodiReasoner) -> ProblemRows:
    return ProblemRows(PROBLEMS, tiny_reasoner.tokenizer, tiny_reasoner.config)


def collate(reasoner: CodiReasoner, rows: ProblemRows, **shares: float) -> dict[str, Tensor]:
    given = {"hide_question": 0.0, "truncate": 0.0, "totals": 0.0, **shares}
    config = reasoner.config
    torch.manual_seed(0)
    return Collator(reasoner.tokenizer.pad_token_id, config.eot_id, config.n_thoughts, **given)(rows.rows)


def words(reasoner: CodiReasoner, ids: Tensor, mask: Tensor) -> str:
    """The real tokens of one row as text, special ones included."""
    return str(reasoner.tokenizer.decode(ids[mask.bool()]))


def test_what_is_collated_reads_as_the_problem(tiny_reasoner: CodiReasoner, rows: ProblemRows) -> None:
    batch = collate(tiny_reasoner, rows)
    text = tiny_reasoner.decode
    for i, problem in enumerate(PROBLEMS):
        question = batch["question"][i][batch["question_mask"][i].bool()].tolist()
        assert text(question) == text(tiny_reasoner.ids(problem.question))
        assert batch["question_mask"][i, -1] == 1  # padded on the left
        written = batch["written"][i][batch["written_mask"][i].bool()].tolist()
        claims = " ".join(f"{claim}." for claim in problem.claims)
        assert text(written) == text(tiny_reasoner.ids(f"{claims} The answer is: {problem.answer}"))
        assert written[-1] == tiny_reasoner.tokenizer.eos_token_id
        assert batch["written_mask"][i, 0] == batch["thought_mask"][i, 0] == 1  # padded on the right
        thought = batch["thought"][i][batch["thought_mask"][i].bool()].tolist()
        assert thought[0] == tiny_reasoner.config.eot_id
        assert text(thought[1:]) == text(tiny_reasoner.ids(f"The answer is: {problem.answer}"))
        assert thought[-1] == tiny_reasoner.tokenizer.eos_token_id


@pytest.mark.parametrize("totals", [0.0, 1.0, 0.5])
def test_cue_indexes_point_at_the_colon_before_the_answer(
    tiny_reasoner: CodiReasoner, rows: ProblemRows, totals: float
) -> None:
    batch = collate(tiny_reasoner, rows, totals=totals)
    [colon] = tiny_reasoner.ids(":")
    for i, problem in enumerate(PROBLEMS):
        for path in ("written", "thought"):
            cue = int(batch[f"{path}_cue"][i])
            assert batch[path][i, cue] == colon
            assert batch[path][i, cue + 1 : cue + 2].tolist() == tiny_reasoner.ids(problem.answer)


def test_running_totals_stand_between_bot_and_eot(tiny_reasoner: CodiReasoner, rows: ProblemRows) -> None:
    batch, config = collate(tiny_reasoner, rows, totals=1.0), tiny_reasoner.config
    for i, problem in enumerate(PROBLEMS):
        n = len(problem.steps)
        assert batch["written"][i, 0] == config.bot_id
        assert batch["written"][i, n + 1] == config.eot_id
        results = " ".join(step.result for step in problem.steps)
        assert batch["written"][i, 1 : n + 1].tolist() == tiny_reasoner.ids(results)


def test_shares_say_how_many_rows_are_hidden_and_truncated(
    tiny_reasoner: CodiReasoner, rows: ProblemRows
) -> None:
    plain = collate(tiny_reasoner, rows)
    assert not plain["hidden"].any()
    assert (plain["n_fed"] == 3).all()
    full = collate(tiny_reasoner, rows, hide_question=1.0, truncate=1.0)
    assert full["hidden"].all()
    drawn: dict[int, set[int]] = {}
    for problem, n in zip(PROBLEMS, full["n_fed"].tolist(), strict=True):
        drawn.setdefault(len(problem.steps), set()).add(n)
    assert drawn == {1: {1, 2, 3}, 2: {2, 3}, 3: {3}, 4: {3}}  # from the number of steps to K
    some = collate(tiny_reasoner, rows, hide_question=0.5)
    assert 16 < some["hidden"].sum() < 48


def test_padding() -> None:
    ids, mask = padded([[1, 2, 3], [4]], 9, left=True)
    assert ids.tolist() == [[1, 2, 3], [9, 9, 4]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert padded([[1, 2], [4]], 9)[0].tolist() == [[1, 2], [4, 9]]
