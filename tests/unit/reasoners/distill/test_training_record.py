"""What distillation keeps beside the weights."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file

from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.distill.run import distill, new_model
from reverse_codi.reasoners.distill.training_record import trained_length
from reverse_codi.recipe.schema import Recipe
from reverse_codi.storage.stages import TAKEN_OVER, record
from reverse_codi.tasks import Split


def test_distillation_keeps_the_length_of_its_longest_question(tmp_path: Path) -> None:
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    section = {"out": str(tmp_path), "shape": shape, "n_thoughts": 2, "projection_width": 8, "n_problems": 50}
    recipe = Recipe.model_validate({"distill": section, "log": {"report_to": []}})
    model, reasoner = new_model(recipe.distill, recipe.task.build(), 0)
    for phase in ("written", "latent"):  # both are done, so that nothing is trained here
        record(tmp_path / phase, {TAKEN_OVER: "an untrained model"})
        weights = {name: tensor.contiguous().clone() for name, tensor in model.state_dict().items()}
        save_file(weights, tmp_path / phase / "model.safetensors")
    made = distill(recipe)
    asked = recipe.task.build().problems(Split.TRAIN, 50, 0)
    assert trained_length(tmp_path) == max(len(reasoner.question_ids(p.question)) for p in asked)
    assert CodiReasoner.from_pretrained(tmp_path).content_hash == made.content_hash  # it is no part of it
