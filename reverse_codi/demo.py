"""`make demo`: the main job on two CPU cores, from the embedded model to a better translator.

Translates fresh held-out problems with the embedded warm start, runs GRPO with rollout and reward
actors in Ray, translates the same problems again, and writes demo.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import ray
from rich.console import Console
from rich.table import Table

from reverse_codi.config import RecipeError, run_verb
from reverse_codi.console import VerbConsole
from reverse_codi.evaluation.select import thoughts_of
from reverse_codi.evaluation.translation import Scored, Thoughts, match_gain, mean_change, score
from reverse_codi.files import write_whole
from reverse_codi.outputs import check_file, check_folder
from reverse_codi.preparation import HELD_FILE, Prepared, open_traces, prepare
from reverse_codi.reading.foils import CONSTANT
from reverse_codi.reading.measure import MAPS_FILE
from reverse_codi.reasoners.load import ASSETS
from reverse_codi.recipe import Recipe, load_recipe
from reverse_codi.runtime import placement, with_available_engine
from reverse_codi.tasks.base import Split
from reverse_codi.train import finish, reinforce
from reverse_codi.verbalizer.policy import Policy
from reverse_codi.verbalizer.translate import Translator

# Other problems than those that the best checkpoint is chosen on.
TEST_PROBLEMS, TEST_SEED = 300, 90_001
# Lies in every folder that a demo made.
MARK = ".demo"


def empty(out: Path) -> None:
    """Clear the folder of an earlier demo; whatever else lies there is not ours to delete.

    Raises:
        RecipeError: `out` holds files and no demo made it.
    """
    if out.is_dir() and any(out.iterdir()) and not (out / MARK).is_file():
        raise RecipeError(f"{out} holds files that no demo wrote; choose another --out, or empty it")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / MARK).touch()


def test_thoughts(
    recipe: Recipe, prepared: Prepared, out: Path, console: Console, problems: int = TEST_PROBLEMS
) -> Thoughts:
    """Live thoughts of fresh held-out problems, which nothing in training has seen."""
    traces = open_traces(
        recipe, prepared.reasoner, Split.HELDOUT, problems, TEST_SEED, str(out / "test-traces"), console
    )
    return thoughts_of(traces, prepared.sites, prepared.held, live_only=True)


def embedded_reading(out: Path) -> None:
    """Read as the embedded verbalizer does: its maps and held steps were frozen with it."""
    (out / "reading").mkdir(parents=True, exist_ok=True)
    for name in (MAPS_FILE, HELD_FILE):
        shutil.copy(ASSETS / "verbalizer" / name, out / "reading" / name)


def translated(recipe: Recipe, prepared: Prepared, folder: Path, thoughts: Thoughts) -> Scored:
    """Greedy translations by the verbalizer in `folder`, scored."""
    translator = Translator(prepared.reasoner, recipe.reasoner.folder, folder, recipe.grpo.max_new_tokens)
    return score(thoughts, translator.greedy(thoughts.slots), prepared.measure)


def control(prepared: Prepared, thoughts: Thoughts, text: str) -> float:
    """Match of one text given for every thought."""
    scored = score(thoughts, [text] * len(thoughts), prepared.measure)
    return scored.match


def show(console: Console, thoughts: Thoughts, before: Scored, after: Scored, problems: int) -> None:
    """Print some thoughts' translations side by side."""
    table = Table("thought", "gold claim", "warm start", "after GRPO", title="held-out thoughts")
    shown = [row for row, problem in enumerate(thoughts.problems) if problem < problems]
    for row in shown:
        if row == 0 or thoughts.problems[row] != thoughts.problems[row - 1]:
            table.add_section()
            console.print(f"{thoughts.questions[row]}", markup=False)
        table.add_row(str(thoughts.sites[row]), thoughts.gold[row], before.texts[row], after.texts[row])
    console.print(table)


def show_changes(console: Console, before: Scored, after: Scored, problems: Sequence[int]) -> None:
    """Print means over thoughts before and after, and their change with its 95 % interval."""
    table = Table("a thought's", "warm start", "after GRPO", "change")
    for title, x, y in (
        ("match, clipped at -2", before.clipped, after.clipped),
        ("results right", before.result, after.result),
        ("operations right", before.operation, after.operation),
        ("whole claims right", before.claim, after.claim),
    ):
        table.add_row(title, f"{x.mean():.3f}", f"{y.mean():.3f}", str(mean_change(x, y, problems)))
    console.print(table)


def demo(recipe: Recipe, out: Path, console: Console) -> dict[str, float]:
    """Run it; returns what demo.json holds."""
    start = time.perf_counter()
    empty(out)
    embedded_reading(out)
    prepared = prepare(recipe, out, console)
    warm = ASSETS / "warm"
    console.print((warm / "warm_curve.csv").read_text(), markup=False)
    console.print("the curve above is the warm start's, on held-out thoughts, to its plateau")
    thoughts = test_thoughts(recipe, prepared, out, console)
    before = translated(recipe, prepared, warm, thoughts)
    policy = Policy.load(warm, prepared.reasoner, trainable=True)
    reinforce(recipe, prepared, policy, out, console, resume=False)
    folder = finish(out, prepared, out / "best")
    after = translated(recipe, prepared, folder, thoughts)
    show(console, thoughts, before, after, problems=4)
    show_changes(console, before, after, thoughts.problems)
    gain = match_gain(before, after, thoughts.problems)
    gold = score(thoughts, thoughts.gold, prepared.measure)
    return {
        "match_before": before.match,
        "match_after": after.match,
        "gain_low": gain.low,
        "gain_high": gain.high,
        "retrieval_before": before.retrieved,
        "retrieval_after": after.retrieved,
        "result_before": float(before.result.mean()),
        "result_after": float(after.result.mean()),
        "match_constant": control(prepared, thoughts, CONSTANT),
        "match_empty": control(prepared, thoughts, ""),
        "match_gold": gold.match,
        "top_share": after.top_share,
        "n": len(set(thoughts.problems)),
        "seconds": time.perf_counter() - start,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the demo and write demo.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="recipes/demo.yaml")
    parser.add_argument("--out", type=Path, default=Path("runs/demo"))
    parser.add_argument("--json", type=Path, default=Path("demo.json"))
    options, overrides = parser.parse_known_args(arguments)
    console = VerbConsole()
    check_folder(options.out)
    check_file(options.json, (".json",))
    recipe, told = with_available_engine(load_recipe([options.recipe, *overrides]))
    if told:
        console.print(f"[yellow]{told}[/yellow]")
    console.print(placement(recipe), markup=False)
    figures = demo(recipe, options.out, console)
    ray.shutdown()
    write_whole(options.json, json.dumps(figures, indent=2) + "\n")
    console.print_json(json.dumps(figures))


if __name__ == "__main__":
    run_verb(main)
