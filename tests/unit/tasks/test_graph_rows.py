"""What `reverse_codi.reasoners.distill.run` does with graph problems before it trains on them."""

from __future__ import annotations

import pytest
import torch

from reverse_codi.reasoners.codi import CodiConfig
from reverse_codi.reasoners.distill.data import Collator, ProblemRows
from reverse_codi.tasks.arithmetic import split_words
from reverse_codi.tasks.base import Split
from reverse_codi.tasks.graph import Graph
from reverse_codi.tasks.words import word_tokenizer


@pytest.mark.parametrize("task", [Graph(), Graph(sentence=True)], ids=["class", "sentence"])
def test_a_distillation_set_can_be_encoded(task: Graph) -> None:
    problems = task.problems(Split.TRAIN, 40, seed=0)
    tokenizer = word_tokenizer(task.vocabulary())
    config = CodiConfig(
        n_thoughts=4, projection_width=8, bot_id=len(tokenizer) + 1, eot_id=len(tokenizer) + 2
    )
    rows = ProblemRows(problems, tokenizer, config)
    for row, problem in zip(rows.rows, problems, strict=True):
        assert tokenizer.unk_token_id not in [*row.question, *row.steps, *row.totals[1:-1], *row.answer]
        assert tokenizer.decode(row.question) == " ".join(split_words(problem.question))
        assert row.n_steps == len(row.totals) - 2 == len(problem.steps)  # one running total a step
        assert tokenizer.decode(row.answer[row.cue_length : -1]) == problem.answer
    some = [rows[i] for i in range(8)]
    batch = Collator(tokenizer.pad_token_id, config.eot_id, 4, 0.5, 0.5, 0.5)(some)
    assert torch.equal(batch["question_mask"].sum(1), torch.tensor([len(row.question) for row in some]))
    assert batch["written"].shape[0] == batch["thought"].shape[0] == 8
