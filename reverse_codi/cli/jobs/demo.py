"""The demo: the main job on two CPU cores, from the embedded model to a better translator.

Translates fresh held-out problems with the embedded warm start, which few labels taught. Runs the recipe's
stages of reinforcement (search, distil, GRPO) with rollout and reward actors in Ray, and translates the same
problems again.
"""

from __future__ import annotations

import csv
import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from reverse_codi.cli.output import Output
from reverse_codi.errors import RecipeError
from reverse_codi.reading.hard_negatives import CONSTANT
from reverse_codi.reasoners.load import ASSETS
from reverse_codi.recipe.schema import Recipe
from reverse_codi.storage.json_files import read_object
from reverse_codi.storage.lock import LOCK, owned
from reverse_codi.storage.stages import take_over
from reverse_codi.tasks.base import Split
from reverse_codi.traces.collect import TraceRequest, collect
from reverse_codi.trackers.tracker import start_trackers
from reverse_codi.training import preflight
from reverse_codi.training.learning_signal import check_thoughts
from reverse_codi.training.prepare import Prepared, prepare
from reverse_codi.training.records import BEST_FIGURES, WARM_CURVE
from reverse_codi.training.reinforce import reinforce
from reverse_codi.training.run_folder import RunFolder
from reverse_codi.training.runtime import gold_steps
from reverse_codi.training.stage_folders import READING, READING_FILES
from reverse_codi.utils.figures import change
from reverse_codi.utils.tables import Table
from reverse_codi.verbalize.policy import Policy
from reverse_codi.verbalize.scores import CLIP, Scored, match_gain, score
from reverse_codi.verbalize.thoughts import Thoughts, thoughts_of
from reverse_codi.verbalize.translator import Translator

log = logging.getLogger(__name__)

# Other problems than those that the best checkpoint is chosen on.
TEST_PROBLEMS, TEST_SEED = 300, 90_001
# Labelled problems of the embedded warm start, and whole claims by supervised training alone on that many and
# more (recipes/ablation-labels.yaml).
WARM_PROBLEMS, LABELS = 1_000, ASSETS / "label_efficiency.csv"
# Lies in every folder that a demo made.
MARK = ".demo"


def check_is_ours(out: Path) -> None:
    """Refuse a folder that a demo would clear, though none made it.

    Raises:
        RecipeError: `out` holds files and no demo made it.
    """
    held = any(entry.name != LOCK for entry in out.iterdir()) if out.is_dir() else False
    if held and not (out / MARK).is_file():
        raise RecipeError(f"{out} holds files that no demo wrote; choose another --out, or empty it")


def empty(out: Path) -> None:
    """Clear the folder of an earlier demo, but for the lock on it; see `check_is_ours`."""
    check_is_ours(out)
    out.mkdir(parents=True, exist_ok=True)
    for entry in out.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != LOCK:
            entry.unlink()
    (out / MARK).touch()


def test_thoughts(recipe: Recipe, prepared: Prepared, out: Path, problems: int = TEST_PROBLEMS) -> Thoughts:
    """Causally active thoughts of fresh held-out problems, which nothing in training has seen."""
    asked = TraceRequest.of_training(recipe, Split.HELDOUT, problems, TEST_SEED, out / "test-traces")
    traces = collect(prepared.reasoner, recipe.task.build(), asked)
    return thoughts_of(traces, prepared.sites, prepared.encoded, active_only=True)


def embedded_reading(out: Path) -> None:
    """Read as the embedded verbalizer does: its maps and encoded steps were frozen with it."""
    take_over(ASSETS / "verbalizer", out / READING, READING_FILES)


def translated(recipe: Recipe, prepared: Prepared, folder: Path, thoughts: Thoughts) -> Scored:
    """Greedy translations by the verbalizer in `folder`, scored."""
    translator = Translator(prepared.reasoner, folder, recipe.grpo.max_new_tokens)
    return score(thoughts, translator.greedy(thoughts.slots), prepared.metric)


def control(prepared: Prepared, thoughts: Thoughts, text: str) -> float:
    """Match of one text given for every thought."""
    scored = score(thoughts, [text] * len(thoughts), prepared.metric)
    return scored.match


def show(out: Output, thoughts: Thoughts, before: Scored, after: Scored, problems: int) -> None:
    """Print some thoughts' translations side by side."""
    names = ("thought", "gold claim", "warm start", "after reinforcement")
    table = Table(*names, title="held-out thoughts", texts=names[1:])
    shown = [row for row, problem in enumerate(thoughts.problems) if problem < problems]
    for row in shown:
        if row == 0 or thoughts.problems[row] != thoughts.problems[row - 1]:
            out.show(thoughts.questions[row])
        table.add_row(str(thoughts.sites[row]), thoughts.gold[row], before.texts[row], after.texts[row])
    out.show(table)


def kept_step(out: Path) -> int:
    """The stage of the policy in `out/best`, of GRPO alone its step; 0 is the warm start."""
    file = out / BEST_FIGURES
    return int(read_object(file, "remove it and train again")["step"]) if file.is_file() else 0


def show_changes(out: Output, before: Scored, after: Scored, problems: Sequence[int], step: int) -> None:
    """Print means over thoughts before and after, and their change with its 95 % interval.

    Args:
        out: shows them.
        before: the warm start's texts.
        after: those of the kept policy.
        problems: the problem of each thought.
        step: the kept policy's, see `kept_step`.
    """
    table = Table("a thought's", "warm start", "after reinforcement", "change", texts=["a thought's"])
    for title, x, y, span in (
        (f"match, clipped at {CLIP:g}", before.clipped, after.clipped, 1.0 - CLIP),
        ("results right", before.result, after.result, 1.0),
        ("operations right", before.operation, after.operation, 1.0),
        ("whole claims right", before.claim, after.claim, 1.0),
    ):
        if len(x):  # sentences state no operations
            rows = x.isfinite().nonzero().flatten().tolist()  # a partial claim leaves its operation open
            x, y, asked = x[rows], y[rows], [problems[row] for row in rows]
            table.add_row(title, f"{x.mean():.3f}", f"{y.mean():.3f}", str(change(x, y, asked, span)))
    out.show(table)
    if step == 0:
        out.show(
            "The best policy is the warm start: no later one was better on the held-out thoughts that it is "
            "chosen on, so both columns are of the same weights. stages.jsonl has the later figures."
        )
    elif before.texts == after.texts:
        out.show(f"Stage {step} writes the same texts as the warm start, every one.")


def label_efficiency(claims: float) -> str:
    """One line: how many labelled problems supervised training alone would need, as measured for the package.

    Args:
        claims: share of whole claims that are right.
    """
    with LABELS.open() as file:
        rows = [(int(row["problems"]), float(row["claim"])) for row in csv.DictReader(file)]
    few = next((problems for problems, reached in rows if reached >= claims), None)
    alone = "  ".join(f"{problems:,}: {reached:.3f}" for problems, reached in rows)
    needed = f"more than {rows[-1][0]:,}" if few is None else f"about {few:,}"
    return (
        f"The warm start saw the steps of {WARM_PROBLEMS:,} labelled problems, reinforcement none. "
        f"Supervised training alone needs those of {needed} for as many whole claims (problems: claims, "
        f"{alone})."
    )


def demo(recipe: Recipe, out: Path, output: Output) -> dict[str, float]:
    """Run it; returns what demo.json holds.

    Raises:
        InUseError: another run has the folder.
    """
    with owned(out, "--out"):
        return _shown(recipe, out, output)


def _shown(recipe: Recipe, out: Path, output: Output) -> dict[str, float]:
    start = time.perf_counter()
    check_is_ours(out)
    for line in preflight.check(recipe, fetch=True, reuse=False):  # those in `out` are made anew
        log.warning(line)
    preflight.check_actors(recipe)
    empty(out)
    output.note(gold_steps(recipe))
    embedded_reading(out)
    start_trackers(recipe.log)
    prepared = prepare(recipe, out)
    check_thoughts(recipe, prepared)
    run = RunFolder(out)
    run.write_recipe(recipe)
    take_over(ASSETS / "warm", run.warm)
    curve = Path(shutil.copy(run.warm / WARM_CURVE, out))
    output.note(curve.read_text())
    output.note("the curve above is the warm start's, on held-out thoughts, to its plateau")
    thoughts = test_thoughts(recipe, prepared, out)
    before = translated(recipe, prepared, run.warm, thoughts)
    with run.tracked(recipe):
        if recipe.stages:
            reinforce(recipe, prepared, Policy.load(run.warm, prepared.reasoner, trainable=True), run)
        folder = run.save(recipe, prepared)
    step = kept_step(out)
    after = translated(recipe, prepared, folder, thoughts)
    show(output, thoughts, before, after, problems=4)
    show_changes(output, before, after, thoughts.problems, step)
    gain = match_gain(before, after, thoughts.problems)
    claims = change(before.claim, after.claim, thoughts.problems)
    output.show(label_efficiency(float(after.claim.mean())))
    gold = score(thoughts, thoughts.gold, prepared.metric)
    return {
        "match_before": before.match,
        "match_after": after.match,
        "gain_low": gain.low,
        "gain_high": gain.high,
        "retrieval_before": before.retrieved,
        "retrieval_after": after.retrieved,
        "result_before": float(before.result.mean()),
        "result_after": float(after.result.mean()),
        "claim_before": float(before.claim.mean()),
        "claim_after": float(after.claim.mean()),
        "claim_low": claims.low,
        "claim_high": claims.high,
        "match_constant": control(prepared, thoughts, CONSTANT),
        "match_empty": control(prepared, thoughts, ""),
        "match_gold": gold.match,
        "top_share": after.top_share,
        "best_step": step,
        "n": len(set(thoughts.problems)),
        "seconds": time.perf_counter() - start,
    }
