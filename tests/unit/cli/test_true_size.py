"""The job of `true-size`: which commands run, how much less they do, what is measured and shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from reverse_codi.cli.jobs.true_size import (
    FIGURES,
    GRPO,
    WARM,
    Key,
    Part,
    as_record,
    run_command,
    shown,
    stages,
)
from reverse_codi.cli.main import main, verb_module
from reverse_codi.errors import UserError
from reverse_codi.processes.process_memory import Peaks, ProcessPeak
from reverse_codi.recipe.schema import load_recipe
from tests.fakes import output, printed, screen

FEWER = (
    "--trace.n 70 --warm_start.steps 10 --warm_start.batch_size 64 --grpo.steps 2 --grpo.samples 8 "
    "--grpo.thoughts_per_step 16 --train.out runs/true-size/codi-gpt2/train"
).split()


def test_factors_say_how_many_times_as_much_the_recipe_asks() -> None:
    asked, recipe = load_recipe(["codi-gpt2"]), load_recipe(["codi-gpt2", *FEWER])
    found = stages(recipe, asked, writes=7)
    assert [stage.verb for stage in found] == "checkpoint trace train train train verbalize evaluate".split()
    times = [dict(stage.times) for stage in found]
    assert times[1] == {"": 100}
    assert times[2] == {"own written steps": 1000, "probes": 100, "maps": 100}
    assert times[3] == {WARM: 2000 * 256 / 640}
    assert times[4] == {GRPO: 100 * 64 * 16 / 256}
    assert times[6] == {"": 600 / 16, FIGURES: 600 * 3.3 / 8}


def test_each_stage_is_a_command_that_its_verb_can_parse() -> None:
    asked = load_recipe(["codi-gpt2"])
    for stage in stages(load_recipe(["codi-gpt2", *FEWER]), asked, writes=7):
        verb, *words = stage.command(["codi-gpt2", *FEWER])
        parser = verb_module(verb).parser()
        (parser.parse_with_keys if parser.takes_recipe else parser.parse_args)(words)
        assert ("codi-gpt2" in words) == (stage.takes == "recipe")


def test_a_command_is_run_shown_logged_and_measured(tmp_path: Path) -> None:
    said, log = screen(), tmp_path / "logs/1-recipes.log"
    [(name, seconds, peaks)] = run_command(["recipes"], log, output(said))
    assert name == "" and seconds > 0
    assert "codi-gpt2" in printed(said) and "codi-gpt2" in log.read_text()
    assert isinstance(peaks, Peaks)
    with pytest.raises(UserError, match=rf"`reverse-codi recipes` ended with status 2; .* in {log}"):
        run_command(["recipes", "no-such-recipe"], log, output(said))
    assert "no-such-recipe" in log.read_text()


def test_tables_and_record_hold_the_same_figures() -> None:
    one = Peaks({1: ProcessPeak("train", 2.0, 1.5), 2: ProcessPeak("ray RewardActor", 1.0, 0.5)}, total=2.0)
    two = Peaks({1: ProcessPeak("train", 3.0, 2.5)}, total=2.5)
    parts = [Part("1. train", "", 36.0, 100.0, one), Part("1. train", "maps", 4.0, 1.0, two)]
    cells = [row for table in shown(parts) for row in table.rows]
    assert ["1. train", "", "36", "x 100", "1.00"] in cells
    assert ["all", "", "40", "x 90.1", "1.0"] in cells
    assert ["1. train", "train", "3.00", "2.50"] in cells
    assert ["1. train", "all at one moment", "", "2.50"] in cells
    record = as_record(parts, [Key("trace.n", "70", "fewer")])
    assert (record["seconds"], record["peak_gib"]) == (40.0, 2.5)
    assert record["keys"] == [{"name": "trace.n", "value": "70", "why": "fewer"}]


def test_a_recipe_without_a_public_layout_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["true-size", "tiny"])
    assert stopped.value.code == 2
    assert "error: reasoner.path = 'embedded': no layout of random weights" in capsys.readouterr().err
