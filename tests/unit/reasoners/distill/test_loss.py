from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.distill.data import Collator, ProblemRows
from reverse_codi.reasoners.distill.loss import Batch, codi_terms, distill_distance, thought_tail
from reverse_codi.reasoners.latent_lm import LatentLM
from tests.tiny import make_problems, make_sharp_reasoner


@pytest.fixture(scope="module")
def reasoner() -> CodiReasoner:
    made = make_sharp_reasoner()
    made.model.requires_grad_(True)
    return made


@pytest.fixture(scope="module")
def batch(reasoner: CodiReasoner) -> Batch:
    rows = ProblemRows(make_problems(6, seed=4), reasoner.tokenizer, reasoner.config)
    collator = Collator(reasoner.tokenizer.pad_token_id, reasoner.config.eot_id, 3, 0.0, 0.0, 0.0)
    return Batch(**collator(rows.rows))


def tail_states(
    model: LatentLM, batch: Batch, latent_inputs: Tensor | None = None, question: Tensor | None = None
) -> Tensor:
    """The tail's states [B, S, d] with given thoughts [B, K, d]; `question` replaces the batch's ids."""
    given = batch if question is None else replace(batch, question=question)
    _, context = model.start(given.question, given.question_mask)
    think = model.think
    if latent_inputs is not None:
        everywhere = torch.ones(latent_inputs.shape[:2], dtype=torch.bool)
        vars(model)["think"] = lambda ctx: think(ctx, latent_inputs, everywhere)
    try:
        return thought_tail(model, context, given).last.detach()
    finally:
        vars(model).pop("think", None)


def make_latent_inputs(seed: int) -> Tensor:
    return torch.randn(6, 3, 32, generator=torch.Generator().manual_seed(seed))


def other_question(batch: Batch) -> Tensor:
    """Other words under the same mask."""
    swapped = batch.question.clone()
    swapped[batch.question_mask.bool()] = 20 + batch.question[batch.question_mask.bool()] % 7
    return swapped


def one_layer() -> LatentLM:
    """With one layer the thoughts' keys depend on the thoughts alone, and so does all that the tail sees."""
    return make_sharp_reasoner(layers=1).model


def test_a_hidden_question_cannot_be_seen_from_the_tail(batch: Batch) -> None:
    model, latent_inputs = one_layer(), make_latent_inputs(0)
    hidden = torch.tensor([True, False] * 3)
    shown = replace(batch, hidden=hidden)
    before = tail_states(model, shown, latent_inputs)
    after = tail_states(model, shown, latent_inputs, other_question(batch))
    torch.testing.assert_close(after[hidden], before[hidden], atol=1e-5, rtol=1e-5)
    for row in (~hidden).nonzero()[:, 0].tolist():
        assert not torch.allclose(after[row], before[row], atol=1e-4)


def test_a_truncated_tail_cannot_see_later_thoughts(reasoner: CodiReasoner, batch: Batch) -> None:
    model = reasoner.model
    one, other = make_latent_inputs(0), make_latent_inputs(0)
    other[:, 2] = make_latent_inputs(1)[:, 2]
    n_fed = torch.tensor([2, 3] * 3)
    shown = replace(batch, n_fed=n_fed)
    before, after = tail_states(model, shown, one), tail_states(model, shown, other)
    torch.testing.assert_close(after[n_fed == 2], before[n_fed == 2], atol=1e-5, rtol=1e-5)
    for row in (n_fed == 3).nonzero()[:, 0].tolist():
        assert not torch.allclose(after[row], before[row], atol=1e-4)


def test_a_truncated_row_is_one_with_fewer_thoughts(reasoner: CodiReasoner, batch: Batch) -> None:
    """Positions included: the tail stands where it would if the model thought m times only."""
    cut = tail_states(reasoner.model, replace(batch, n_fed=torch.full((6,), 2)))
    source = reasoner.model
    shorter = LatentLM(source.lm, source.prj, 2, source.bot_id, source.eot_id)
    whole = tail_states(shorter, replace(batch, n_fed=torch.full((6,), 2)))
    real = batch.thought_mask.bool()
    torch.testing.assert_close(cut[real], whole[real], atol=1e-4, rtol=1e-4)


def test_terms_are_those_of_plain_passes_row_by_row(reasoner: CodiReasoner, batch: Batch) -> None:
    model = reasoner.model
    with torch.no_grad():
        terms = codi_terms(model, batch)
        teacher, student, teacher_cue, student_cue = [], [], [], []
        for i in range(6):
            question = batch.question[i][batch.question_mask[i].bool()]
            written = batch.written[i][batch.written_mask[i].bool()]
            out = model.lm(input_ids=torch.cat([question, written])[None], output_hidden_states=True)
            logits = out.logits[0, len(question) - 1 : -1]
            teacher.append(F.cross_entropy(logits, written, reduction="none"))
            place = len(question) + int(batch.written_cue[i])
            teacher_cue.append(torch.stack([layer[0, place] for layer in out.hidden_states]))
            chains = reasoner.think([reasoner.decode(question.tolist())])
            tail = batch.thought[i][batch.thought_mask[i].bool()]
            before = model.embed(torch.cat([question, torch.tensor([model.bot_id])]))
            embeds = torch.cat([before, chains.latent_inputs[0], model.embed(tail)])
            out = model.lm(inputs_embeds=embeds[None], output_hidden_states=True)
            first = len(question) + 1 + 3
            student.append(F.cross_entropy(out.logits[0, first:-1], tail[1:], reduction="none"))
            place = first + int(batch.thought_cue[i])
            student_cue.append(torch.stack([layer[0, place] for layer in out.hidden_states]))
    torch.testing.assert_close(terms.teacher, torch.cat(teacher).mean(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(terms.student, torch.cat(student).mean(), atol=1e-4, rtol=1e-4)
    ours, theirs = torch.stack(student_cue, 1), torch.stack(teacher_cue, 1)  # [L + 1, B, d]
    torch.testing.assert_close(terms.distill, distill_distance([*ours], [*theirs]), atol=1e-4, rtol=1e-4)


def test_without_the_student_only_the_teacher_counts(reasoner: CodiReasoner, batch: Batch) -> None:
    terms = codi_terms(reasoner.model, batch, with_student=False)
    assert (terms.student.item(), terms.distill.item()) == (0.0, 0.0)
    torch.testing.assert_close(terms.teacher, codi_terms(reasoner.model, batch).teacher)


def test_distance_of_equal_states_is_0_and_of_simple_ones_computed_by_hand() -> None:
    states = torch.tensor([[1.0, -1.0], [3.0, -3.0]])
    assert distill_distance([states], [states]).item() == 0
    deviation = states.std().item()  # over everything: sqrt(20 / 3)
    assert deviation == pytest.approx((20 / 3) ** 0.5)
    # one entry is off by 4 deviations (smooth L1: 4 - 1/2), another by half of one (1/2 * 1/4)
    moved = states + deviation * torch.tensor([[4.0, 0.5], [0.0, 0.0]])
    near = pytest.approx((3.5 + 0.125) / 4, rel=1e-4)
    assert distill_distance([moved], [states]).item() == near
    assert distill_distance([moved, states], [states, states]).item() == pytest.approx(
        (3.5 + 0.125) / 8, rel=1e-4
    )


def test_the_teacher_gets_no_gradient_from_the_distance() -> None:
    student, teacher = (torch.randn(3, 4).requires_grad_() for _ in range(2))
    distill_distance([student], [teacher]).backward()
    assert student.grad is not None
    assert teacher.grad is None


def test_the_student_term_reaches_the_projection_through_the_thoughts(
    reasoner: CodiReasoner, batch: Batch
) -> None:
    reasoner.model.zero_grad()
    codi_terms(reasoner.model, replace(batch, n_fed=torch.ones(6, dtype=torch.long))).student.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in reasoner.model.prj.parameters())
    reasoner.model.zero_grad()
