"""From a base model to translations: every stage of a recipe, one after the other.

Distillation, accuracy with and without thoughts, traces, maps, warm start, RL, and what fresh held-out
thoughts say before and after it. Called again, it goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reverse_codi.cli import verbalize
from reverse_codi.cli.jobs.demo import control, kept_step, show_changes, test_thoughts, translated
from reverse_codi.cli.output import Output
from reverse_codi.errors import RecipeError
from reverse_codi.evaluation import accuracy
from reverse_codi.reading.hard_negatives import CONSTANT
from reverse_codi.reasoners.codi_config import CONFIG_FILE
from reverse_codi.reasoners.distill.run import distill, made_from
from reverse_codi.reasoners.load import load_reasoner
from reverse_codi.recipe.schema import Recipe
from reverse_codi.storage.json_files import read_object
from reverse_codi.storage.outputs import check_folder
from reverse_codi.storage.stages import finished, record
from reverse_codi.train import train
from reverse_codi.training import preflight
from reverse_codi.training.prepare import prepare
from reverse_codi.verbalize.scores import score
from reverse_codi.verbalize.translator import Translator
from reverse_codi.verbalize.verbalizer import Verbalizer

FIGURES, TRANSLATIONS = "pipeline.json", "translations.jsonl"
# Held-out problems that the reasoner is asked, fresh ones whose thoughts are scored, and of these shown.
CHECKED, TESTED, SHOWN = 150, 64, 8


def check_reasoner_is_made_here(recipe: Recipe) -> None:
    """Refuse a recipe whose later stages would read another reasoner than its first one makes.

    Raises:
        RecipeError: `reasoner.path` is not `distill.out`.
    """
    if recipe.reasoner.path != recipe.distill.out:
        raise RecipeError(
            f"reasoner.path = {recipe.reasoner.path!r} is not distill.out = {recipe.distill.out!r}; set both "
            "to one folder, or run the stages by themselves (distill, train, verbalize)"
        )


def checked(recipe: Recipe, out: Path, output: Output) -> dict[str, Any]:
    """The reasoner's accuracy with its thoughts, without them and in CoT mode."""
    reasoner = load_reasoner(recipe.reasoner)
    file = out / accuracy.FILE
    inputs = {
        "reasoner": reasoner.content_hash,
        "task": recipe.task.model_dump(mode="json"),
        "problems": CHECKED,
        "seed": recipe.distill.seed,
    }
    if finished(out, inputs, (accuracy.FILE,)):
        output.note(f"already there: {file}")
    else:
        record(out, inputs)
        on_bad = recipe.trace.on_bad_question
        found = accuracy.metric(reasoner, recipe.task.build(), CHECKED, recipe.distill.seed, on_bad)
        accuracy.save(accuracy.flat(found), out)
        output.show(*accuracy.shown(recipe.reasoner.path, found, None))
    return read_object(file, "remove it to measure anew")


def trained(recipe: Recipe) -> Path:
    """The folder of the verbalizer, trained from where an earlier call stopped."""
    return train(recipe, resume=True)


def final_figures(
    recipe: Recipe, verbalizer: Path, out: Path, output: Output
) -> dict[str, Mapping[str, float]]:
    """Translate fresh held-out thoughts by warm start and verbalizer; show, keep and score the texts."""
    prepared = prepare(recipe, out)
    thoughts = test_thoughts(recipe, prepared, out, TESTED)
    before = translated(recipe, prepared, out / "warm", thoughts)
    after = translated(recipe, prepared, verbalizer, thoughts)
    show_changes(output, before, after, thoughts.problems, kept_step(out))
    translator = Translator(prepared.reasoner, verbalizer, recipe.grpo.max_new_tokens)
    questions = list(dict.fromkeys(thoughts.questions))[:SHOWN]
    rows = Verbalizer(translator, prepared.metric).translate(questions)
    verbalize.save(list(rows), out / TRANSLATIONS)
    for of_question in rows.traces:
        verbalize.show(output.results, of_question, chain=False)
    gold = score(thoughts, thoughts.gold, prepared.metric)
    fixed = {"constant": CONSTANT, "empty": ""}
    return {
        "warm start": before.summary(),
        "after RL": after.summary(),
        "gold": gold.summary(),
        "match of a fixed text": {name: control(prepared, thoughts, text) for name, text in fixed.items()},
    }


def run(recipe: Recipe, output: Output) -> dict[str, Any]:
    """Every stage; returns what pipeline.json holds."""
    check_reasoner_is_made_here(recipe)
    check_folder(recipe.distill.out, "distill.out")
    preflight.check(recipe, fetch=False)  # again, with the reasoner at hand, in `train`
    preflight.check_actors(recipe)
    out = Path(recipe.train.out)
    seconds: dict[str, float] = {}

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        output.note(f"\n{name}")
        start = time.perf_counter()
        yield
        seconds[name] = time.perf_counter() - start
        output.note(f"{name}: {seconds[name] / 60:.1f} minutes")

    with stage("distillation"):
        if finished(Path(recipe.distill.out), made_from(recipe), (CONFIG_FILE,)):
            output.note(f"already there: {recipe.distill.out}")
        else:
            distill(recipe)
    with stage("accuracy"):
        found = checked(recipe, Path(recipe.distill.out) / "accuracy", output)
    with stage("traces, warm start, RL"):
        verbalizer = trained(recipe)
    with stage("translations"):
        figures = final_figures(recipe, verbalizer, out, output)
    return {"accuracy": found, "translations": figures, "seconds": seconds}
