from __future__ import annotations

import pytest
import torch

from reverse_codi.reasoners.distill import projection_start
from reverse_codi.reasoners.distill.data import ProblemRows
from reverse_codi.reasoners.distill.projection_start import next_token_pairs, start_projection
from tests.tiny import make_problems, make_tiny_reasoner


def test_pairs_are_states_of_the_solution_with_the_tokens_after_them() -> None:
    reasoner = make_tiny_reasoner()
    rows = ProblemRows(make_problems(3), reasoner.tokenizer, reasoner.config).rows
    states, following = next_token_pairs(reasoner.model, rows, reasoner.tokenizer.pad_token_id)
    expected, tokens = [], []
    for row in rows:
        ids = torch.tensor([row.question + row.totals + row.answer])
        read = reasoner.lm.base_model(ids).last_hidden_state[0]
        expected.append(read[len(row.question) : len(row.question) + len(row.totals)])
        tokens += [*row.totals[1:], row.answer[0]]
    torch.testing.assert_close(states, torch.cat(expected), atol=1e-5, rtol=1e-5)
    assert following.tolist() == tokens


@pytest.mark.long
def test_fed_vectors_become_the_next_tokens_and_only_prj_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection_start, "STEPS", 300)
    monkeypatch.setattr(projection_start, "BATCH", 256)
    reasoner = make_tiny_reasoner()
    model, pad = reasoner.model, reasoner.tokenizer.pad_token_id
    model.prj.requires_grad_(True)
    rows = ProblemRows(make_problems(12), reasoner.tokenizer, reasoner.config).rows
    before = {name: value.clone() for name, value in model.state_dict().items()}
    message = start_projection(model, rows, pad, seed=0)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {f"prj.{name}" for name, _ in model.prj.named_parameters()}

    states, following = next_token_pairs(model, rows, pad)
    table = model.lm.get_input_embeddings().weight
    right = torch.cdist(model.prj(states), table).argmin(-1) == following
    assert right.float().mean() > 0.9  # random states of an untrained model, learnt by heart
    assert message == pytest.approx(right.float().mean().item(), abs=0.1)
