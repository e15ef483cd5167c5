from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.distill.coconut import CoconutCollator, Stage, coconut_loss, curriculum
from reverse_codi.reasoners.distill.data import ProblemRows
from reverse_codi.reasoners.distill.run import distill
from reverse_codi.reasoners.latent_lm import LatentLM, projection
from reverse_codi.reasoners.load import load_reasoner
from reverse_codi.recipe.schema import Recipe
from tests.tiny import make_problems, make_tiny_reasoner


def make_coconut(n_thoughts: int = 4) -> CodiReasoner:
    tiny = make_tiny_reasoner(n_thoughts)
    config = replace(tiny.config, projection_width=0)
    model = LatentLM(tiny.lm, projection(32, 0), n_thoughts, config.bot_id, config.eot_id)
    return CodiReasoner(model, tiny.tokenizer, config)


def test_the_curriculum_of_gsm8k() -> None:
    stages = curriculum(6, 2)
    assert [(s.name, s.n_thoughts, s.n_skipped) for s in stages] == [
        ("stage-1", 2, 1),
        ("stage-2", 4, 2),
        ("stage-3", 6, 3),
        ("answer", 6, None),
    ]
    with pytest.raises(ValueError, match=r"n_thoughts = 5 is no multiple of distill.thoughts_per_step = 2"):
        curriculum(5, 2)
    with pytest.raises(ValueError, match="n_thoughts = 0 is no multiple"):
        curriculum(0, 2)


def test_a_stage_leaves_out_its_first_steps() -> None:
    problem = next(p for p in make_problems(50) if len(p.steps) >= 3)
    [shorter] = Stage("stage-2", 4, 2).shortened([problem])
    assert shorter.claims == problem.claims[2:]
    assert shorter.answer == problem.answer
    assert Stage("answer", 6, None).shortened([problem])[0].steps == ()


def test_the_loss_is_that_of_plain_passes_row_by_row() -> None:
    reasoner = make_coconut()
    model, problems = reasoner.model, make_problems(5)
    stage = Stage("stage-1", 2, 1)
    rows = ProblemRows(stage.shortened(problems), reasoner.tokenizer, reasoner.config).rows
    batch = CoconutCollator(reasoner.tokenizer.pad_token_id, model.eot_id)(rows)
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
    rows = ProblemRows(make_problems(3), reasoner.tokenizer, reasoner.config).rows
    batch = CoconutCollator(reasoner.tokenizer.pad_token_id, reasoner.model.eot_id)(rows)
    reasoner.model.requires_grad_(True)
    seen = []

    def note(module: torch.nn.Module, _: object, grads: tuple[torch.Tensor]) -> None:
        seen.append(grads[0].abs().sum())

    reasoner.model.prj.register_full_backward_hook(note)
    coconut_loss(reasoner.model, batch, 4).backward()
    assert len(seen) == 4
    assert all(float(size) > 0 for size in seen)


def test_distill_trains_stage_after_stage_and_goes_on(tmp_path: Path) -> None:
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    section = {
        "method": "coconut",
        "out": str(tmp_path / "coconut"),
        "shape": shape | {"num_key_value_heads": 2, "max_position_embeddings": 256},
        "n_thoughts": 4,
        "n_problems": 16,
        "written": {"steps": 2, "batch_size": 4, "student": 0, "distill": 0},
        "latent": {"steps": 6, "batch_size": 4},
    }
    recipe = Recipe.model_validate({"distill": section, "log": {"wandb": False}})
    reasoner = distill(recipe)
    made = {path.parent.name for path in (tmp_path / "coconut").glob("*/model.safetensors")}
    assert made == {"written", "stage-1", "stage-2", "answer"}
    again = load_reasoner(tmp_path / "coconut")
    assert again.content_hash == reasoner.content_hash
    assert (again.config.projection_width, again.n_thoughts) == (0, 4)
    chains = again.think([p.question for p in make_problems(2)])
    assert torch.equal(chains.latent_inputs, chains.hidden_states[:, :-1])
    assert distill(recipe).content_hash == reasoner.content_hash
