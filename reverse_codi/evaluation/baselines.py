"""Every control by the name that `--baseline` takes, and how it is made on request."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from reverse_codi.evaluation import controls, oracle, trained_controls
from reverse_codi.evaluation.eval_set import EvalSet
from reverse_codi.evaluation.report import AIMS
from reverse_codi.evaluation.suite.predictions import Method, Predictions
from reverse_codi.evaluation.suite.run import evaluate
from reverse_codi.reading.claims import NO_STEP
from reverse_codi.reading.reconstructor import FILE, Reconstructor, Scale
from reverse_codi.reading.reconstructor_network import ReconstructorSection
from reverse_codi.recipe.schema import Recipe
from reverse_codi.recipe.verbalizer import WarmStartSection
from reverse_codi.training.records import BEST
from reverse_codi.utils.figures import Figures, nothing
from reverse_codi.verbalize.self_generated_cot import SelfGeneratedCot, candidates, nearest_steps
from reverse_codi.verbalize.thoughts import Thoughts
from reverse_codi.verbalize.translator import Translator

log = logging.getLogger(__name__)

# Long prompts: a step of 64 questions costs as much as one of 256 thoughts.
QUESTION_ONLY = WarmStartSection(steps=400, batch_size=64)


# Every run of a trace's self-generated CoT is read: 5,000 traces take half a minute.
NEAREST = WarmStartSection(kind="nearest", steps=600, samples=0, problems=5_000)
# Thoughts whose samples are held in memory at once.
RERANKED = 256


@dataclass(frozen=True)
class Tools:
    """What controls are made from.

    Attributes:
        eval_set: what is asked.
        recipe: of the verbalizer's run.
        verbalizer: its folder.
        write: the verbalizer.
        out: where trained controls are kept.
    """

    eval_set: EvalSet
    recipe: Recipe
    verbalizer: Path
    write: Method
    out: Path

    @property
    def warm(self) -> Path:
        """The warm start that RL began with; the verbalizer itself where there was no RL.

        Only a run that had RL keeps a `best` policy beside its warm start; the package's is the demo's.
        """
        run = self.verbalizer.parent
        reinforced = self.verbalizer.name == "verbalizer" and (run / BEST).is_dir()
        return run / "warm" if reinforced else self.verbalizer

    @functools.cached_property
    def self_generated_cot(self) -> list[str]:
        """For every training thought the text from the model's self-generated CoT; no label is used."""
        context = self.eval_set.context
        written = context.written(context.train.questions)
        own = SelfGeneratedCot.of(written, context.train.answers)
        return own.texts(context.thoughts(context.train), context.encoded)

    def reconstructor(self) -> Reconstructor | None:
        """A reader fitted on self-generated CoT in training; loaded where a former run fitted it.

        None where the model wrote no step for a site that is asked for: nothing says what its thoughts hold.
        """
        context, folder = self.eval_set.context, self.out / "reconstructor"
        if (folder / FILE).is_file():
            return Reconstructor.load(folder, context.reasoner)
        thoughts, texts = context.thoughts(context.train), self.self_generated_cot
        rows = [row for row, text in enumerate(texts) if text != NO_STEP]
        thoughts = thoughts.take(rows)
        asked = {self.eval_set.thoughts.sites[row] for row in self.eval_set.active}
        if without := sorted(asked - set(thoughts.sites)):
            sites = ", ".join(map(str, without))
            log.warning(f"no reconstructor: the model wrote no step for thoughts of {sites}")
            return None
        log.info("fitting the reconstructor")
        scales = {
            site: Scale.of(thoughts.targets[[row for row, s in enumerate(thoughts.sites) if s == site]])
            for site in sorted(set(thoughts.sites))  # a site that encodes no step is never asked for
        }
        section = ReconstructorSection(steps=1500, learning_rate=2e-3)
        fitted = Reconstructor.new(context.reasoner, scales, section)
        fitted.fit(
            [texts[row] for row in rows],
            thoughts.sites,
            thoughts.targets,
            section.steps,
            section.batch_size,
            section.seed,
        )
        fitted.save(folder)
        return fitted


def warm_start_only(tools: Tools) -> Method:
    """The verbalizer before RL."""
    return trained_controls.greedy_method(tools.eval_set.context.reasoner, tools.warm)


def best_of(n: int, tools: Tools) -> Method:
    """Of the verbalizer's greedy and `n` sampled texts, the one that reads nearest: what search adds."""
    metric = tools.eval_set.context.metric
    translator = Translator(tools.eval_set.context.reasoner, tools.verbalizer)

    def write(thoughts: Thoughts) -> list[str]:
        texts = []
        for start in range(0, len(thoughts), RERANKED):
            part = thoughts.take(range(start, min(start + RERANKED, len(thoughts))))
            rest = part.targets, part.sites, part.questions
            texts += translator.reranked(part.slots, n, *rest, metric, tools.eval_set.seed)
        return texts

    return write


def warm_gold(tools: Tools) -> Method:
    """A verbalizer trained on gold claims, without RL."""
    context, out = tools.eval_set.context, tools.out / "warm_gold"
    return trained_controls.warmed(context, tools.verbalizer, out, lambda thoughts: thoughts.gold)


def warm_nearest(tools: Tools) -> Method:
    """A verbalizer trained on the nearest steps of self-generated CoT, without RL or labels."""
    context, out = tools.eval_set.context, tools.out / "warm_nearest"

    def nearest(thoughts: Thoughts) -> list[str]:
        train = context.train.select(range(max(thoughts.problems) + 1))
        own = SelfGeneratedCot.of(context.written(train.questions), train.answers)
        texts = candidates(context.reasoner, NEAREST, own, train)
        return nearest_steps(thoughts, own.texts(thoughts, context.encoded), train, texts, context.metric)

    return trained_controls.warmed(context, tools.verbalizer, out, nearest, NEAREST)


def more_sft(tools: Tools) -> Method:
    """The warm start, trained on for as many texts as reinforcement samples."""
    context, out = tools.eval_set.context, tools.out / "more_sft"
    texts = sum(stage.texts(len(context.thoughts(context.train))) for stage in tools.recipe.stages)
    return trained_controls.more_sft(context, tools.warm, tools.self_generated_cot, texts, out)


def question_only(tools: Tools) -> Method:
    """A verbalizer that sees the question and never the thought."""
    context, out = tools.eval_set.context, tools.out / "question_only"
    return trained_controls.question_only(context, tools.verbalizer, out, QUESTION_ONLY)


METHODS: Mapping[str, Callable[[Tools], Method]] = {
    "gold": lambda tools: controls.gold_claims,
    "empty": lambda tools: controls.empty,
    "constant": lambda tools: controls.constant,
    "question_restated": lambda tools: controls.question_restated,
    "final_answer": lambda tools: controls.final_answer,
    "question_solved": lambda tools: functools.partial(controls.question_solved, tools.eval_set.context),
    "logit_lens": lambda tools: functools.partial(controls.logit_lens, tools.eval_set.context),
    "lens_search": lambda tools: functools.partial(controls.searched_lens, tools.eval_set.context),
    "linear_probes": lambda tools: controls.LinearProbes.fit(tools.eval_set.context),
    "nearest_text": lambda tools: controls.NearestText.fit(tools.eval_set.context),
    "shuffled": lambda tools: functools.partial(controls.shuffled_thoughts, tools.write),
    "best_of_16": functools.partial(best_of, 16),
    "warm_start": warm_start_only,
    "warm_gold": warm_gold,
    "warm_nearest": warm_nearest,
    "more_sft": more_sft,
    "question_only": question_only,
}
ORACLE = "oracle"
ON_REQUEST: Mapping[str, Callable[[Tools], Method]] = {"best_of_256": functools.partial(best_of, 256)}


FROM_GOLD = ("gold", "linear_probes", "nearest_text", "warm_gold", ORACLE)
"""Controls that are made from gold steps."""


def baseline(name: str, tools: Tools, reconstructor: Reconstructor | None) -> Figures:
    """The figures of one control; the oracle, which answers questions, has those of content alone."""
    if name in FROM_GOLD and not tools.eval_set.gold_steps:
        return {key: nothing(f"{name} is made from gold steps, and the task has none") for key in AIMS}
    if name == ORACLE:
        context, folder = tools.eval_set.context, tools.out / ORACLE
        asked = oracle.train_oracle(context, tools.verbalizer, folder)
        return oracle.oracle_figures(tools.eval_set, asked)
    method = {**METHODS, **ON_REQUEST}[name](tools)
    return evaluate(Predictions(tools.eval_set, method), reconstructor=reconstructor)
