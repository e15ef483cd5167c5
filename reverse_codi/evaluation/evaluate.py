"""Is the translation true? `reverse-codi evaluate` asks it.

Every figure of docs/evaluation.md for the verbalizer and for each control, on fresh held-out problems, as a
table and in DIR/metrics.json. `--baseline NAME` runs one control alone. `--reasoner ID --task NAME` asks
first whether a checkpoint loaded right: its accuracy beside the published one.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from reverse_codi.evaluation import accuracy, iterations
from reverse_codi.evaluation.baselines import Tools, baseline
from reverse_codi.evaluation.chain_method import ChainMethod
from reverse_codi.evaluation.defaults import Size
from reverse_codi.evaluation.draw import draw
from reverse_codi.evaluation.eval_set import EvalContext
from reverse_codi.evaluation.report import (
    METRICS_FILE,
    save,
    save_texts,
)
from reverse_codi.evaluation.suite.predictions import Method, Predictions
from reverse_codi.evaluation.suite.readable import prompt
from reverse_codi.evaluation.suite.run import evaluate, examine
from reverse_codi.reading.claims import EncodedSteps
from reverse_codi.reading.language_model import LanguageModel
from reverse_codi.reading.metric import MAPS_FILE, ThoughtMetric
from reverse_codi.reasoners.checkpoints.known import published
from reverse_codi.reasoners.huginn.reasoner import HuginnReasoner
from reverse_codi.reasoners.load import ASSETS, is_recurrent_depth, load_reasoner, reasoner_folder
from reverse_codi.reasoners.sites import ANSWER
from reverse_codi.recipe.reasoner import EMBEDDED
from reverse_codi.recipe.schema import Recipe, load_recipe
from reverse_codi.traces.files import MANIFEST
from reverse_codi.traces.store import TraceStore
from reverse_codi.training.prepare import ENCODED_FILE
from reverse_codi.utils.config import RecipeError, override, read_yaml, validated
from reverse_codi.utils.figures import Figures
from reverse_codi.utils.files import figures_json, write_whole
from reverse_codi.utils.outputs import check_folder
from reverse_codi.utils.stages import file_hash, finished, record
from reverse_codi.utils.trainer_checkpoints import POLICY_WEIGHTS
from reverse_codi.verbalize.config import FILE as VERBALIZER_FILE
from reverse_codi.verbalize.translator import Translator

# What recipes/tiny.yaml says of the embedded verbalizer; recipes are no part of the package.
EMBEDDED_RECIPE = {
    "trace": {"n": 150_000},
    "warm_start": {"word_dropout": 0.2},
    "grpo": {"steps": 60, "thoughts_per_step": 256, "samples": 8, "max_new_tokens": 24},
}


@dataclass(frozen=True)
class Evaluated:
    """What a word on the command line means.

    Attributes:
        recipe: gives reasoner, task and traces.
        verbalizer: its folder.
        reading: folder of maps and encoded steps to examine it with; its own where None.
    """

    recipe: Recipe
    verbalizer: Path
    reading: Path | None = None


def find(word: str, overrides: Sequence[str]) -> Evaluated:
    """A recipe with its run's verbalizer, a verbalizer's folder with its run's recipe, or `embedded`.

    Raises:
        RecipeError: there is no verbalizer; the message says where one was looked for.
    """
    if word == EMBEDDED:
        recipe = validated(Recipe, override(EMBEDDED_RECIPE, overrides), EMBEDDED)
        return Evaluated(recipe, ASSETS / "verbalizer")
    path = Path(word)
    if path.is_dir():
        beside = [folder / "recipe.yaml" for folder in (path, path.parent)]
        known = [file for file in beside if file.is_file()]
        read = read_yaml(known[0]) if known else {}
        recipe = validated(Recipe, override(read, overrides), word)
        found = [path, path / "verbalizer"]
    else:
        if not path.is_file() and difflib.get_close_matches(word, [EMBEDDED], cutoff=0.8):
            raise RecipeError(f"no recipe or folder {word}; did you mean '{EMBEDDED}'?")
        recipe = load_recipe([word, *overrides])
        found = [Path(recipe.train.out) / "verbalizer"]
    for folder in found:
        if (folder / VERBALIZER_FILE).is_file():
            return Evaluated(recipe, folder)
    looked = " or ".join(map(str, found))
    raise RecipeError(f"no verbalizer in {looked}; train one first: reverse-codi train {word}")


def run(
    evaluated: Evaluated,
    size: Size,
    seed: int,
    out: Path,
    names: Sequence[str],
    console: Console,
    *,
    alone: bool = False,
    given: Path | None = None,
    second: str | None = None,
    reconstruct: bool = True,
) -> tuple[Figures, dict[str, Figures]]:
    """Figures of the verbalizer, with what the thoughts hold, and of each control.

    Args:
        evaluated: the verbalizer and its recipe.
        size: how much is asked.
        seed: of problems, distractors and edits.
        out: where everything is kept.
        names: controls.
        console: progress.
        alone: the controls without the verbalizer.
        given: a trace store to examine.
        second: folder, hub id or GGUF file of a second language model, for its likelihood of the texts.
        reconstruct: fit a reconstructor for `fve.reconstructor`.

    Raises:
        StageError: `out` holds figures or controls of another verbalizer, size or seed.
    """
    check_folder(out, "--out")
    if given is not None and not (given / MANIFEST).is_file():
        raise RecipeError(f"{given} is no trace store; collect one: reverse-codi trace RECIPE")
    recipe, folder = evaluated.recipe, evaluated.verbalizer
    reasoner = load_reasoner(recipe.reasoner)
    reading = evaluated.reading or folder
    metric = ThoughtMetric.load(reading, reasoner)
    if ANSWER in metric.maps:
        fix = "add --reading FOLDER with maps of single thoughts (the package's: --reading embedded)"
        raise RecipeError(f"the maps in {reading} read whole traces; {fix}")
    encoded = EncodedSteps.from_json((reading / ENCODED_FILE).read_text())
    inputs = {
        "verbalizer": {name: file_hash(folder / name) for name in (VERBALIZER_FILE, POLICY_WEIGHTS)},
        "reading": {name: file_hash(reading / name) for name in (MAPS_FILE, ENCODED_FILE)},
        "asked": recipe.asked_hash,
        "trace": recipe.trace.model_dump(mode="json", include={"n", "seed"}),
        # Longest text, and the budget of the control `more_sft`.
        "grpo": recipe.grpo.model_dump(include={"max_new_tokens", "steps", "thoughts_per_step", "samples"}),
        "given": TraceStore.open(given).identity if given else None,
        "size": size.model_dump(),
        "seed": seed,
    }
    finished(out, inputs, (METRICS_FILE,), resumable=(f"*/{VERBALIZER_FILE}", "reconstructor/*"))
    record(out, inputs)
    eval_set = draw(recipe, reasoner, metric, encoded, size, seed, out, console, given)
    translator = Translator(reasoner, reasoner_folder(recipe.reasoner), folder, recipe.grpo.max_new_tokens)
    tools = Tools(eval_set, recipe, folder, _method(translator, eval_set.context), out, console)
    reconstructor = tools.reconstructor() if reconstruct else None
    other = LanguageModel.load(second, recipe.reasoner.device) if second else None
    found: Figures = {}
    if not alone:
        with timed(console, "verbalizer"):
            predictions = Predictions(eval_set, tools.write)
            found = evaluate(predictions, reconstructor=reconstructor, second=other)
            found |= examine(eval_set) | prompt(predictions)
        save(found, {}, out)
        save_texts(predictions, out)
    baselines: dict[str, Figures] = {}
    for name in names:
        with timed(console, name):
            baselines[name] = baseline(name, tools, reconstructor)
        save(found, baselines, out)
    return found, baselines


def _method(translator: Translator, context: EvalContext) -> Method:
    """The verbalizer as a writer of single thoughts' texts."""
    if translator.policy.verbalizer_config.n_slots > 1:
        return ChainMethod(translator.greedy, context.encoded, context.sites)
    return lambda thoughts: translator.greedy(thoughts.slots)


@contextmanager
def timed(console: Console, name: str) -> Iterator[None]:
    """Say what is under way and how long it took."""
    start = time.perf_counter()
    with console.status(name):
        yield
    console.print(f"{name}: {time.perf_counter() - start:.0f} s")


def check(
    reasoner: str,
    task: str,
    overrides: Sequence[str],
    problems: int,
    seed: int,
    out: Path,
    console: Console,
) -> None:
    """Accuracy of a reasoner with and without its thoughts (or iterations), beside the published figure."""
    known = {"reasoner": {"path": reasoner}, "task": {"name": task}}
    recipe = validated(Recipe, override(known, overrides), "command line")
    name, section, questions = f"{reasoner} on {task}", recipe.reasoner, recipe.task.build()
    on_bad = recipe.trace.on_bad_question
    check_folder(out, "--out")
    if is_recurrent_depth(section):
        recurrent = HuginnReasoner.from_pretrained(section.path, section.device)
        iterated = iterations.metric(recurrent, questions, problems, seed, console, on_bad)
        figures = iterations.flat(iterated)
        show = partial(iterations.show, console, name, iterated, published(reasoner, task))
    else:
        thinker = load_reasoner(section)
        found = accuracy.metric(thinker, questions, problems, seed, console, on_bad)
        figures = accuracy.flat(found)
        known_figure = published(reasoner, task, thinker.n_thoughts)
        show = partial(accuracy.show, console, name, found, known_figure)
    write_whole(out / accuracy.FILE, figures_json(figures, indent=1) + "\n")
    show()
    console.print(f"{out / accuracy.FILE}")
