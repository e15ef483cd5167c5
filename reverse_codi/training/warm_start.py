"""The warm start of a run: which thoughts are taught, with which texts, and the verbalizer that learns them.

The fine-tuning itself is `verbalize.warm_start`.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from pathlib import Path

from reverse_codi.reading.claims import NO_STEP
from reverse_codi.reasoners.sites import ANSWER
from reverse_codi.recipe.schema import Recipe
from reverse_codi.storage.stages import file_hash, finished, record
from reverse_codi.tasks.base import Split
from reverse_codi.trackers.tracker import tracked
from reverse_codi.trainers.checkpoints import steps_of
from reverse_codi.training.prepare import Prepared
from reverse_codi.training.records import WARM_CURVE
from reverse_codi.training.selection import Selection
from reverse_codi.training.stage_folders import READING_FILES, WARM, WARM_FILES, warm_settings
from reverse_codi.verbalize.config import VerbalizerConfig
from reverse_codi.verbalize.fine_tuner import PATTERN, clear, left
from reverse_codi.verbalize.policy import Policy
from reverse_codi.verbalize.self_generated_cot import candidates, nearest_steps
from reverse_codi.verbalize.thoughts import Thoughts
from reverse_codi.verbalize.warm_start import SftJob, SftPairs, fine_tune

log = logging.getLogger(__name__)


def warm_start(recipe: Recipe, prepared: Prepared, out: Path) -> Policy:
    """The warm-started verbalizer: trained now, or loaded from `out` if a former run finished it.

    A run that a signal stopped within it goes on from there.

    Args:
        recipe: of the run.
        prepared: traces and metric.
        out: folder of the run; gets `warm/`, `warm_curve.csv` and the trainer's `sft/`.

    Raises:
        StageError: the former run had other settings.
        StopAsked: a signal asked for the end.
    """
    folder = out / WARM
    inputs = {
        **warm_settings(recipe),
        "traces": prepared.train.identity,
        "reading": {name: file_hash(prepared.folder / name) for name in READING_FILES},
    }
    tuned = out / "sft"
    if finished(folder, inputs, WARM_FILES, resumable=(f"../{tuned.name}/{PATTERN}",)):
        return Policy.load(folder, prepared.reasoner, trainable=True)
    record(folder, inputs)
    section = recipe.warm_start
    thoughts = taught_thoughts(recipe, prepared)
    policy = Policy.new(prepared.reasoner, recipe.verbalizer, new_config(recipe, prepared), section.seed)
    done = steps_of(left(tuned))
    point = Selection.of(recipe, prepared).curve(policy, out / WARM_CURVE, "warm start", done)
    on_from = f", from step {done} on" if done else ""
    log.info(f"warm start ({section.kind}) on {len(thoughts):,} thoughts{on_from}")
    pairs = SftPairs(policy.verbalizer_config.inject(thoughts.slots), warm_texts(recipe, prepared, thoughts))
    with tracked(recipe, "warm start", out, again=done > 0, first=done + 1) as reporting:
        job = SftJob(title="warm start", reporting=reporting, resumable=True)
        fine_tune(policy, pairs, section, tuned, job, on_point=point)
    policy.save(folder)
    clear(tuned)
    return policy


def taught_thoughts(recipe: Recipe, prepared: Prepared) -> Thoughts:
    """The thoughts of the warm start, those of disagreeing traces several times where no labels are used."""
    thoughts = prepared.thoughts(Split.TRAIN, active_only=False)
    section = recipe.warm_start
    rows = [row for row, p in enumerate(thoughts.problems) if not section.problems or p < section.problems]
    if section.kind == "shuffled":  # else half of what is taught would be "(no step)"
        gold = gold_texts(prepared, thoughts)
        rows = [row for row in rows if gold[row] != NO_STEP]
    if section.kind in ("written", "nearest") and prepared.own is not None:
        disagreeing = set(prepared.own.disagreeing)
        again = [row for row in rows if thoughts.problems[row] in disagreeing]
        rows += again * (section.disagreeing - 1)
    return thoughts.take(rows)


def warm_texts(recipe: Recipe, prepared: Prepared, thoughts: Thoughts) -> list[str]:
    """Target texts of the warm start, in the order of `thoughts`."""
    if recipe.warm_start.kind in ("gold", "shuffled"):
        gold = gold_texts(prepared, thoughts)
        return gold if recipe.warm_start.kind == "gold" else shuffled(gold, recipe.warm_start.seed)
    assert prepared.own is not None  # by `Recipe.needs_self_generated_cot`
    claims = prepared.own.texts(thoughts, prepared.encoded)
    if recipe.warm_start.kind == "written":
        return claims
    taught = prepared.train.select(range(max(thoughts.problems) + 1))
    own = candidates(prepared.reasoner, recipe.warm_start, prepared.own, taught)
    return nearest_steps(thoughts, claims, taught, own, prepared.metric)


def gold_texts(prepared: Prepared, thoughts: Thoughts) -> list[str]:
    """The gold text of each training thought; "(no step)" where it holds none."""
    rows = zip(thoughts.sites, thoughts.problems, strict=True)
    return [prepared.encoded.text(site, prepared.train.claims[row]) for site, row in rows]


def shuffled(texts: Sequence[str], seed: int) -> list[str]:
    """The texts in an order that has nothing to do with the thoughts: what claims look like, and no more."""
    mixed = list(texts)
    random.Random(seed).shuffle(mixed)
    return mixed


def new_config(recipe: Recipe, prepared: Prepared) -> VerbalizerConfig:
    """How a new verbalizer is asked, and which reasoner and reading it belongs to."""
    reasoner = prepared.reasoner
    return VerbalizerConfig(
        template=recipe.verbalizer.template,
        n_slots=reasoner.n_thoughts if ANSWER in prepared.sites else 1,
        n_vocab=reasoner.lm.get_input_embeddings().num_embeddings,
        reasoner_hash=reasoner.content_hash,
        tokenizer_hash=reasoner.tokenizer_hash,
        read_spec=prepared.metric.reader.spec.model_dump(mode="json"),
    )
