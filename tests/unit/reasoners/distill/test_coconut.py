from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.distill.coconut import (
    CoconutCollator,
    Stage,
    coconut_loss,
    curriculum,
    stage_steps,
)
from reverse_codi.reasoners.distill.data import EncodedProblem, ProblemRows
from reverse_codi.reasoners.distill.run import distill, made_from
from reverse_codi.reasoners.latent_lm import LatentLM, projection
from reverse_codi.reasoners.load import load_reasoner
from reverse_codi.recipe.schema import Recipe
from reverse_codi.tasks.base import Problem
from tests.tiny import make_problems, make_sharp_reasoner, make_tiny_reasoner


def make_coconut(n_thoughts: int = 4) -> CodiReasoner:
    tiny = make_tiny_reasoner(n_thoughts)
    config = replace(tiny.config, projection_width=0)
    model = LatentLM(tiny.lm, projection(32, 0), n_thoughts, config.bot_id, config.eot_id)
    return CodiReasoner(model, tiny.tokenizer, config)


def test_the_curriculum_of_gsm8k() -> None:
    stages = curriculum(6, 2)
    assert stages == [
        Stage("stage-1", 2, 1, 2),
        Stage("stage-2", 4, 2, 2),
        Stage("stage-3", 6, 3, 2),
        Stage("answer", 6, None, 2),
    ]
    with pytest.raises(ValueError, match=r"n_thoughts = 5 is no multiple of distill.thoughts_per_step = 2"):
        curriculum(5, 2)
    with pytest.raises(ValueError, match="n_thoughts = 0 is no multiple"):
        curriculum(0, 2)


def test_the_last_stage_takes_what_the_others_leave() -> None:
    assert stage_steps(5, 2003, 0) == [400] * 5
    assert stage_steps(5, 2003, 320) == [320, 320, 320, 320, 723]
    with pytest.raises(
        ValueError, match=r"stage_steps = 320 for 4 stages leaves the last one no step of .*1280"
    ):
        stage_steps(5, 1280, 320)


def test_a_reasoner_that_was_made_before_there_were_stage_steps_is_known() -> None:
    assert "stage_steps" not in made_from(Recipe())["distill"]
    uneven = Recipe.model_validate({"distill": {"method": "coconut", "stage_steps": 5}})
    assert made_from(uneven)["distill"]["stage_steps"] == 5


def stage_rows(reasoner: CodiReasoner, stage: Stage, problems: list[Problem]) -> list[EncodedProblem]:
    return ProblemRows(problems, reasoner.tokenizer, reasoner.config, stage.n_skipped).rows


def collate(
    reasoner: CodiReasoner, stage: Stage, problems: list[Problem], hide: float = 0.0, truncate: float = 0.0
) -> dict[str, torch.Tensor]:
    pad, eot = reasoner.tokenizer.pad_token_id, reasoner.model.eot_id
    return CoconutCollator(pad, eot, stage, hide, truncate)(stage_rows(reasoner, stage, problems))


def test_a_stage_leaves_out_its_first_steps() -> None:
    problem, reasoner = next(p for p in make_problems(50) if len(p.steps) >= 3), make_coconut()
    [shorter] = stage_rows(reasoner, Stage("stage-2", 4, 2, 2), [problem])
    assert shorter.steps == reasoner.ids(" ".join(f"{claim}." for claim in problem.claims[2:]))
    assert shorter.n_steps == len(problem.steps)
    assert stage_rows(reasoner, Stage("answer", 6, None, 2), [problem])[0].steps == []


def test_only_rows_without_a_step_to_write_are_hidden_and_truncated() -> None:
    problems, reasoner = make_problems(64, seed=4), make_coconut()
    stage = Stage("stage-3", 3, 3, 1)
    plain = collate(reasoner, stage, problems)
    assert not plain["hidden"].any() and (plain["n_fed"] == 3).all()
    full = collate(reasoner, stage, problems, 1.0, 1.0)
    assert full["hidden"].tolist() == [len(p.steps) <= 3 for p in problems]
    drawn: dict[int, set[int]] = {}
    for problem, n in zip(problems, full["n_fed"].tolist(), strict=True):
        drawn.setdefault(len(problem.steps), set()).add(n)
    assert drawn == {1: {1, 2, 3}, 2: {2, 3}, 3: {3}, 4: {3}}  # from the number of steps to the stage's
    two_a_step = collate(reasoner, Stage("stage-2", 4, 2, 2), problems, 0.0, 1.0)
    ones = [n for p, n in zip(problems, two_a_step["n_fed"].tolist(), strict=True) if len(p.steps) == 1]
    assert set(ones) == {2, 3, 4}
    some = collate(reasoner, Stage("answer", 4, None, 1), problems, 0.5)
    assert 16 < some["hidden"].sum() < 48


def test_a_truncated_row_is_one_with_fewer_thoughts() -> None:
    reasoner, problems = make_coconut(), make_problems(4)
    batch = collate(reasoner, Stage("answer", 4, None, 1), problems)
    fed = {n: batch | {"n_fed": torch.full((4,), n)} for n in (2, 4)}
    with torch.no_grad():
        cut, two, four = (coconut_loss(reasoner.model, fed[m], n) for m, n in ((2, 4), (2, 2), (4, 4)))
    torch.testing.assert_close(cut, two, atol=1e-5, rtol=1e-5)
    assert abs(float(cut - four)) > 1e-4


def test_a_hidden_question_cannot_be_seen_after_the_thoughts() -> None:
    """With one layer, the keys of bot and thoughts depend on their inputs alone."""
    one_layer = make_sharp_reasoner(layers=1)
    model, problems = one_layer.model, make_problems(4)
    batch = collate(one_layer, Stage("answer", 3, None, 1), problems)
    thoughts = torch.randn(4, 3, model.width, generator=torch.Generator().manual_seed(0))
    think = model.think
    vars(model)["think"] = lambda context, n_thoughts: think(
        context, thoughts, torch.ones(4, 3, dtype=torch.bool), n_thoughts
    )
    others = batch | {"question": torch.where(batch["question_mask"] > 0, 20 + batch["question"] % 7, 0)}
    blind = {"hidden": torch.ones(4, dtype=torch.bool)}
    with torch.no_grad():
        torch.testing.assert_close(
            coconut_loss(model, batch | blind, 3), coconut_loss(model, others | blind, 3)
        )
        assert abs(float(coconut_loss(model, batch, 3) - coconut_loss(model, others, 3))) > 1e-3


def test_the_loss_is_that_of_plain_passes_row_by_row() -> None:
    reasoner = make_coconut()
    model, problems = reasoner.model, make_problems(5)
    batch = collate(reasoner, Stage("stage-1", 2, 1, 2), problems)
    losses = []
    with torch.no_grad():
        for problem in problems:
            rest = " ".join(f"{claim}." for claim in problem.claims[1:])
            solution = reasoner.ids(f"{rest} The answer is: {problem.answer}")
            ids = [*solution, reasoner.tokenizer.eos_token_id]
            embeds = model.embed(torch.tensor([*reasoner.ids(problem.question), model.bot_id]))
            for _ in range(2):
                state = model.lm.base_model(inputs_embeds=embeds[None]).last_hidden_state[0, -1]
                embeds = torch.cat([embeds, state[None]])
            whole = torch.cat([embeds, model.embed(torch.tensor([model.eot_id, *ids]))])
            logits = model.lm(inputs_embeds=whole[None]).logits[0, len(embeds) : -1]
            losses.append(F.cross_entropy(logits, torch.tensor(ids), reduction="none"))
        loss = coconut_loss(model, batch, 2)
    torch.testing.assert_close(loss, torch.cat(losses).mean(), atol=1e-4, rtol=1e-4)


def test_gradients_reach_the_question_through_the_thoughts() -> None:
    reasoner = make_coconut()
    batch = collate(reasoner, Stage("answer", 4, None, 1), make_problems(3))
    reasoner.model.requires_grad_(True)
    seen = []

    def note(module: torch.nn.Module, _: object, grads: tuple[torch.Tensor]) -> None:
        seen.append(grads[0].abs().sum())

    reasoner.model.prj.register_full_backward_hook(note)
    coconut_loss(reasoner.model, batch, 4).backward()
    assert len(seen) == 4
    assert all(float(size) > 0 for size in seen)


@pytest.mark.long
def test_distill_trains_stage_after_stage_and_goes_on(tmp_path: Path) -> None:
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    section = {
        "method": "coconut",
        "out": str(tmp_path / "coconut"),
        "shape": shape | {"num_key_value_heads": 2, "max_position_embeddings": 256},
        "n_thoughts": 4,
        "stage_steps": 1,
        "n_problems": 16,
        "written": {"steps": 2, "batch_size": 4, "student": 0, "distill": 0},
        "latent": {"steps": 6, "batch_size": 4},
    }
    recipe = Recipe.model_validate({"distill": section, "log": {"report_to": []}})
    reasoner = distill(recipe)
    made = {path.parent.name for path in (tmp_path / "coconut").glob("*/model.safetensors")}
    assert made == {"written", "stage-1", "stage-2", "answer"}
    steps = {
        p.parent.name: json.loads(p.read_text())["phase.steps"] for p in tmp_path.glob("*/*/inputs.json")
    }
    assert steps == {"written": 2, "stage-1": 1, "stage-2": 1, "answer": 4}
    again = load_reasoner(tmp_path / "coconut")
    assert again.content_hash == reasoner.content_hash
    assert (again.config.projection_width, again.n_thoughts) == (0, 4)
    chains = again.think([p.question for p in make_problems(2)])
    assert torch.equal(chains.latent_inputs, chains.hidden_states[:, :-1])
    assert distill(recipe).content_hash == reasoner.content_hash
