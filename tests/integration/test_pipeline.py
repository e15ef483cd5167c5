"""Every stage of a recipe by one command, from a base model to translations, with real Ray actors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reverse_codi.cli.jobs import pipeline
from reverse_codi.recipe.schema import load_recipe
from reverse_codi.utils.console import VerbConsole
from reverse_codi.utils.log import show_log
from tests.bases import make_base
from tests.fakes import output

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("ray_session"), pytest.mark.timeout(600)]


def test_one_command_leads_to_translations_and_a_second_one_does_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, n in (("CHECKED", 20), ("TESTED", 20), ("SHOWN", 2)):
        monkeypatch.setattr(pipeline, name, n)
    make_base(tmp_path / "base")
    (tmp_path / "recipe.yaml").write_text(
        "log: {report_to: []}\n"
        # So few operands that probes read some from an untrained model.
        "task: {options: {max_value: 12, max_operand: 3, step_weights: [[1, 1.0]], heldout_percent: 50}}\n"
        f"reasoner: {{path: {tmp_path / 'reasoner'}}}\n"
        f"distill: {{out: {tmp_path / 'reasoner'}, base: {tmp_path / 'base'}, lora: {{rank: 4}}, "
        "n_thoughts: 2, projection_width: 16, projection_start: random, n_problems: 200, threads: 1, "
        "written: {steps: 2, student: 0, distill: 0}, latent: {steps: 2}}\n"
        f"trace: {{out: {tmp_path / 'traces'}, n: 200, n_heldout: 20, shard_rows: 100}}\n"
        "reading: {encoded_threshold: 0.01, fit_on: gold}\n"
        "verbalizer: {rank: 4, alpha: 8}\n"
        "warm_start: {kind: gold, steps: 4, batch_size: 16, eval_steps: 4}\n"
        "rollout: {cpus: 0.4, engine: {kind: transformers, max_model_len: 64}}\n"
        "reward: {cpus_per_actor: 0.4, functions: [{name: hidden_match}]}\n"
        "grpo: {steps: 1, thoughts_per_step: 4, samples: 2, max_new_tokens: 8, eval_every: 1, "
        "eval_thoughts: 16, save_every: 1, distractors: 3}\n"
        f"train: {{out: {tmp_path / 'train'}}}\n"
    )
    recipe = load_recipe([str(tmp_path / "recipe.yaml")])
    first = pipeline.run(recipe, output(show_log(VerbConsole())))
    shown = capsys.readouterr().out
    assert "already" not in shown and "match" in shown
    assert set(first["seconds"]) == {"distillation", "accuracy", "traces, warm start, RL", "translations"}
    assert first["accuracy"]["accuracy"]["n"] == 20
    assert first["translations"]["gold"]["claim"] == 1.0
    rows = [json.loads(line) for line in (tmp_path / "train/translations.jsonl").read_text().splitlines()]
    assert len({row["question"] for row in rows}) == 2 and {row["site"] for row in rows} == {"h0", "h1"}

    again = pipeline.run(recipe, output(show_log(VerbConsole())))
    shown = capsys.readouterr().out
    assert shown.count("already there") == 2 and "all 1 steps are done" in shown
    assert again["accuracy"] == first["accuracy"]
    assert again["translations"]["after RL"] == pytest.approx(first["translations"]["after RL"])
