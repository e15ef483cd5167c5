"""`reverse-codi evaluate RECIPE|VERBALIZER|embedded --seed S --out DIR`: is the translation true?

Every figure of docs/evaluation.md for the verbalizer and for each control, on fresh held-out problems, as a
table and in DIR/metrics.json. `--baseline NAME` runs one control alone. `--reasoner ID --task NAME` asks
first whether a checkpoint loaded right: its accuracy beside the published one.
"""

from __future__ import annotations

import difflib
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from reverse_codi.errors import RecipeError
from reverse_codi.evaluation import accuracy, iterations
from reverse_codi.evaluation.baselines import Tools, baseline
from reverse_codi.evaluation.chain_method import ChainMethod
from reverse_codi.evaluation.defaults import AMONG
from reverse_codi.evaluation.draw import EvalSetRequest, draw
from reverse_codi.evaluation.eval_set import EvalContext
from reverse_codi.evaluation.report import METRICS_FILE, FlatFigure, save, save_texts
from reverse_codi.evaluation.suite.predictions import Method, Predictions
from reverse_codi.evaluation.suite.readable import prompt
from reverse_codi.evaluation.suite.run import evaluate, shared_figures
from reverse_codi.reading.claims import ENCODED_FILE, EncodedSteps
from reverse_codi.reading.language_model import LanguageModel
from reverse_codi.reading.metric import MAPS_FILE, ThoughtMetric
from reverse_codi.reasoners.checkpoints.known import published
from reverse_codi.reasoners.huginn.reasoner import HuginnReasoner
from reverse_codi.reasoners.load import ASSETS, is_recurrent_depth, load_reasoner
from reverse_codi.reasoners.sites import ANSWER
from reverse_codi.recipe.reasoner import EMBEDDED
from reverse_codi.recipe.schema import Recipe, load_recipe, recipe_beside
from reverse_codi.storage.hub import is_hub_id
from reverse_codi.storage.lock import owned
from reverse_codi.storage.outputs import check_folder
from reverse_codi.storage.stages import file_hash, finished, record
from reverse_codi.traces.files import MANIFEST
from reverse_codi.traces.store import TraceStore
from reverse_codi.trainers.checkpoints import POLICY_WEIGHTS
from reverse_codi.utils.config import override, validated
from reverse_codi.utils.console import progress
from reverse_codi.utils.figures import Figures
from reverse_codi.utils.tables import Table
from reverse_codi.verbalize.config import FILE as VERBALIZER_FILE
from reverse_codi.verbalize.publishing.folder import reasoner_source, verbalizer_folder
from reverse_codi.verbalize.translator import Translator

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluated:
    """The object of an evaluation, as a name on the command line gives it.

    Attributes:
        recipe: gives reasoner, task and traces.
        verbalizer: its folder.
        reading: folder of the maps and encoded steps that evaluate it; None means its own.
    """

    recipe: Recipe
    verbalizer: Path
    reading: Path | None = None


def find(word: str, overrides: Sequence[str]) -> Evaluated:
    """A recipe with its run's verbalizer, a verbalizer's folder or hub id with its recipe, or `embedded`.

    Raises:
        RecipeError: there is no verbalizer; the message says where one was looked for.
    """
    path = ASSETS / "verbalizer" if word == EMBEDDED else Path(word)
    if is_hub_id(word):
        path = verbalizer_folder(word)
        reasoner_source(path, word)  # which a recipe from the hub may not make run code
    if path.is_dir():
        recipe = validated(Recipe, override(recipe_beside(path), overrides), word)
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


@dataclass(frozen=True, kw_only=True)
class EvaluationRequest(EvalSetRequest):
    """What an evaluation computes; everything is kept in `out`.

    Attributes:
        controls: names of the controls.
        alone: the controls without the verbalizer.
        second: folder, hub id or GGUF file of a second language model, for its likelihood of the texts.
        reconstruct: fit a reconstructor for `fve.reconstructor`.
    """

    controls: Sequence[str] = ()
    alone: bool = False
    second: str | None = None
    reconstruct: bool = True


def run(evaluated: Evaluated, request: EvaluationRequest) -> tuple[Figures, dict[str, Figures]]:
    """Figures of the verbalizer, with what the thoughts hold, and of each control.

    Args:
        evaluated: the verbalizer and its recipe.
        request: what to compute. Its seed is of problems, distractors and edits.

    Raises:
        StageError: `request.out` holds figures or controls of another verbalizer, size or seed.
        InUseError: another evaluation has `request.out`.
    """
    with owned(request.out, "--out"):
        return _evaluated(evaluated, request)


def _evaluated(evaluated: Evaluated, request: EvaluationRequest) -> tuple[Figures, dict[str, Figures]]:
    out, given = request.out, request.given
    if given is not None and not (given / MANIFEST).is_file():
        raise RecipeError(f"{given} is no trace store; collect one: reverse-codi trace RECIPE")
    recipe, folder = evaluated.recipe, evaluated.verbalizer
    reasoner = load_reasoner(recipe.reasoner)
    reading = evaluated.reading or folder
    metric = ThoughtMetric.load(reading, reasoner)
    if ANSWER in metric.maps:
        fix = "add --reading FOLDER with maps of single thoughts (the package's: --reading embedded)"
        raise RecipeError(f"the maps in {reading} read whole traces; {fix}")
    encoded = EncodedSteps.load(reading)
    inputs = {
        "verbalizer": {name: file_hash(folder / name) for name in (VERBALIZER_FILE, POLICY_WEIGHTS)},
        "reading": {name: file_hash(reading / name) for name in (MAPS_FILE, ENCODED_FILE)},
        "asked": recipe.asked_hash,
        "trace": recipe.trace.model_dump(mode="json", include={"n", "seed"}),
        # Longest text, and the budget of the control `more_sft`.
        "grpo": recipe.grpo.model_dump(include={"max_new_tokens", "steps", "thoughts_per_step", "samples"}),
        **({"reinforce": [stage.name for stage in recipe.stages]} if recipe.reinforce else {}),
        "given": TraceStore.open(given).identity if given else None,
        "size": request.size.model_dump(),
        "seed": request.seed,
    }
    finished(out, inputs, (METRICS_FILE,), resumable=(f"*/{VERBALIZER_FILE}", "reconstructor/*"))
    record(out, inputs)
    eval_set = draw(recipe, reasoner, metric, encoded, request)
    log.info(
        f"to evaluate: {len(eval_set.active):,} active thoughts of {len(eval_set.heldout):,} problems; "
        f"retrieval of {len(eval_set.retrieved):,}, each among {AMONG} texts"
    )
    translator = Translator(reasoner, folder, recipe.grpo.max_new_tokens)
    tools = Tools(eval_set, recipe, folder, _method(translator, eval_set.context), out)
    reconstructor = tools.reconstructor() if request.reconstruct else None
    other = LanguageModel.load(request.second, recipe.reasoner.device) if request.second else None
    found: Figures = {}
    baselines: dict[str, Figures] = {}
    with progress("evaluation", len(request.controls) + (not request.alone)) as advance:
        if not request.alone:
            with timed("verbalizer"):
                predictions = Predictions(eval_set, tools.write)
                found = evaluate(predictions, reconstructor=reconstructor, second=other)
                found |= shared_figures(eval_set) | prompt(predictions)
            save(found, {}, out)
            save_texts(predictions, out)
            advance(1)
        for name in request.controls:
            with timed(name):
                baselines[name] = baseline(name, tools, reconstructor)
            save(found, baselines, out)
            advance(1)
    return found, baselines


def _method(translator: Translator, context: EvalContext) -> Method:
    """The verbalizer as a method for single thoughts."""
    if translator.policy.verbalizer_config.n_slots > 1:
        return ChainMethod(translator.greedy, context.encoded, context.sites)
    return translator.write


@contextmanager
def timed(name: str) -> Iterator[None]:
    """Log how long something took."""
    start = time.perf_counter()
    yield
    log.info(f"{name}: {time.perf_counter() - start:.0f} s")


@dataclass(frozen=True, kw_only=True)
class CheckRequest:
    """Which reasoner to check, and on what.

    Attributes:
        reasoner: folder, hub id or name.
        task: name of the task that has a published figure.
        problems: how many held-out problems.
        seed: of the problems.
        out: folder of accuracy.json.
        overrides: `--section.key value` words, laid over the recipe.
    """

    reasoner: str
    task: str
    problems: int
    seed: int
    out: Path
    overrides: Sequence[str] = ()


def check(request: CheckRequest) -> tuple[list[Table | Text], dict[str, FlatFigure]]:
    """Accuracy of a reasoner with and without its thoughts (or iterations), beside the published figure.

    Returns:
        Table and verdict, to be printed, and the figures as accuracy.json has them.
    """
    reasoner, task, out = request.reasoner, request.task, request.out
    problems, seed, overrides = request.problems, request.seed, request.overrides
    known = {"reasoner": {"path": reasoner}, "task": {"name": task}}
    recipe = validated(Recipe, override(known, overrides), "command line")
    name, section, questions = f"{reasoner} on {task}", recipe.reasoner, recipe.task.build()
    on_bad = recipe.trace.on_bad_question
    check_folder(out, "--out")
    if is_recurrent_depth(section):
        recurrent = HuginnReasoner.from_pretrained(section.path, section.device)
        iterated = iterations.metric(recurrent, questions, problems, seed, on_bad)
        figures = iterations.flat(iterated)
        shown = iterations.shown(name, iterated, published(reasoner, task))
    else:
        thinker = load_reasoner(section)
        found = accuracy.metric(thinker, questions, problems, seed, on_bad)
        figures = accuracy.flat(found)
        shown = accuracy.shown(name, found, published(reasoner, task, thinker.n_thoughts))
    accuracy.save(figures, out)
    return shown, figures
