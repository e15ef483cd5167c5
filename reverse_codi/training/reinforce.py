"""Reinforcement in stages: search, distil and GRPO, in the order that the recipe gives.

    policy ──> search: actors write texts, rewards score them, the best of each thought are kept
       ^          │
       │          v
       ├───── distil: supervised fine-tuning on the best text of each thought, of all searches so far
       │
       └───── grpo: TRL's trainer moves the policy by the rewards of its own texts

Each stage has a folder, `reinforce/NN-KIND`, and is used again if it is finished there. A line of
`stages.jsonl` says what each one cost and what the texts are worth after it.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from reverse_codi.reading.claims import claimed
from reverse_codi.recipe.reinforce import DistilSection, SearchSection, Stage
from reverse_codi.recipe.schema import Recipe
from reverse_codi.storage.files import figures_json, write_whole
from reverse_codi.storage.json_files import read_object
from reverse_codi.storage.json_lines import json_lines
from reverse_codi.storage.mirrors import push_all
from reverse_codi.storage.stages import file_hash, finished, record
from reverse_codi.tasks.base import Split
from reverse_codi.trackers.tracker import continued, log_point, log_table, tracked
from reverse_codi.trainers.checkpoints import POLICY_WEIGHTS, steps_of
from reverse_codi.training.actors import Actors
from reverse_codi.training.best_texts import BestTexts, Found
from reverse_codi.training.content_check import ContentWatch
from reverse_codi.training.distil import distil, empty_thoughts, pairs
from reverse_codi.training.grpo_stage import grpo
from reverse_codi.training.prepare import Prepared
from reverse_codi.training.records import CURVE, STAGES, heldout, keep_best
from reverse_codi.training.resuming import start_of
from reverse_codi.training.run_folder import RunFolder, write_recipe
from reverse_codi.training.search_stage import SearchStage
from reverse_codi.training.selection import Selection
from reverse_codi.training.stage_folders import (
    FIGURES_FILE,
    stage_folder,
    stage_recipe,
    stage_settings,
)
from reverse_codi.training.warm_start import gold_texts, taught_thoughts, warm_texts
from reverse_codi.verbalize.fine_tuner import PATTERN, clear, left
from reverse_codi.verbalize.policy import Policy
from reverse_codi.verbalize.scores import Scored

log = logging.getLogger(__name__)

TUNED = "sft"
"""Folder of a stage's fine-tuning."""


def reinforce(recipe: Recipe, prepared: Prepared, policy: Policy, run: RunFolder) -> None:
    """Run all stages; the policy that `grpo.keep` asks for is in `run.best`.

    Args:
        recipe: of the run.
        prepared: traces and metric.
        policy: the warm start; its weights are changed.
        run: where all is written to; it has a finished warm start.

    Raises:
        UserError: steps that teach nothing, weights that are not finite, or a match that rises while the
            content of the texts falls.
    """
    with ExitStack() as stack:
        actors = Actors(recipe, prepared.reasoner.saved_path(), prepared.folder, stack)
        if recipe.reinforce:
            Reinforcement(recipe, prepared, policy, run, actors).run_all()
        else:
            with measured("grpo", run, actors):
                grpo(recipe, prepared, policy, run, actors)


@contextmanager
def measured(stage: str, run: RunFolder, actors: Actors) -> Iterator[None]:
    """Note what the processes of a run took within a block."""
    with run.memory.stage(stage):
        yield
    run.memory.actors(stage, actors.peaks())


class Reinforcement:
    """The stages of one run, and what is carried from one to the next.

    Args:
        recipe: of the run.
        prepared: traces and metric.
        policy: the warm start.
        run: folder of the run.
        actors: write and score.
    """

    def __init__(
        self, recipe: Recipe, prepared: Prepared, policy: Policy, run: RunFolder, actors: Actors
    ) -> None:
        self.recipe = recipe
        self.prepared = prepared
        self.policy = policy
        self.run = run
        self.actors = actors
        self.selection = Selection.of(recipe, prepared)
        self.thoughts = prepared.thoughts(Split.TRAIN, active_only=True)
        # Only logged: no stage learns from gold steps of training problems.
        self.gold = gold_texts(prepared, self.thoughts) if any(prepared.train.claims) else []
        self.searching = SearchStage(
            prepared.reasoner, prepared.metric, self.thoughts, actors, recipe.grpo, run.policies, self.gold
        )
        self.watch = ContentWatch(self.selection.thoughts.problems)
        self.store = BestTexts()
        self.kept: Path = run.warm
        """Folder of the policy that the next stage starts from."""
        self.best = -math.inf
        self.lines: list[dict[str, Any]] = []
        self.sent = list(json_lines(run.path / STAGES)) if continued() else []
        """The lines of an earlier process, which trackers have."""

    def run_all(self) -> None:
        """Run the stages that are not finished yet; each writes a line, and the best policy is kept."""
        first = self.watch(self.selection.by_policy(self.policy))
        self._log({"stage": "00-warm", "texts": 0, "seconds": 0.0, **_heldout(first)})
        self._keep(first, number=0)
        for stage in self.recipe.stages:
            folder = stage_folder(self.run.path, stage)
            inputs = {
                **stage_settings(self.recipe, stage),
                "traces": self.prepared.train.identity,
                "from": {"policy": file_hash(self.kept / POLICY_WEIGHTS), "texts": len(self.store)},
            }
            resumable = (f"{TUNED}/{PATTERN}",) if stage.kind == "distil" else ()
            if not finished(folder, inputs, (FIGURES_FILE,), resumable):
                record(folder, inputs)
                log.info(f"stage {stage.name}")
                began = time.perf_counter()
                with measured(stage.name, self.run, self.actors):
                    line = self._run(stage, folder)
                seconds, texts = time.perf_counter() - began, stage.texts(len(self.thoughts))
                line |= {"stage": stage.name, "texts": texts, "seconds": seconds}
                write_whole(folder / FIGURES_FILE, figures_json(line) + "\n")
                push_all()
            self._take_over(stage, folder)

    def _run(self, stage: Stage, folder: Path) -> dict[str, Any]:
        """Run one stage into its folder; returns what it cost."""
        section = stage.section
        if isinstance(section, SearchSection):
            with tracked(self.recipe, stage.name, self.run.path, job="search"):
                found, figures = self.searching(stage, section, self.policy, self.store)
                log_point(figures, 0)
                log_table("texts", self._shown(found), 0)
            BestTexts(found).save(folder)
            return {**figures}
        if isinstance(section, DistilSection):
            return self._distil(section, folder)
        self._grpo(stage, folder)
        return {}

    def _distil(self, section: DistilSection, folder: Path) -> dict[str, Any]:
        if section.start == "warm":
            self.policy = Policy.load(self.run.warm, self.prepared.reasoner, trainable=True)
        replayed = None
        if section.replay:
            taught = taught_thoughts(self.recipe, self.prepared)
            replayed = taught, warm_texts(self.recipe, self.prepared, taught)
        empty = empty_thoughts(self.prepared)
        examples = pairs(self.policy, self.store, section, self.thoughts, empty, replayed)
        done = steps_of(left(folder / TUNED))
        with tracked(
            self.recipe, folder.name, self.run.path, job="distil", again=done > 0, first=done + 1
        ) as reporting:
            point = self.selection.curve(self.policy, folder / CURVE, folder.name, done)
            distil(self.policy, examples, section, folder / TUNED, point, reporting)
        self.policy.save(folder)
        clear(folder / TUNED)
        return {"pairs": len(examples.texts), "shown": section.steps * section.batch_size}

    def _grpo(self, stage: Stage, folder: Path) -> None:
        recipe = stage_recipe(self.recipe, stage)
        start = start_of(recipe, folder, resume=True)  # `RunFolder.begin` asked the user
        for note in start.notes:
            log.warning(note)
        inner = RunFolder(folder, start, stage.name)
        write_recipe(recipe, inner.path)
        grpo(recipe, self.prepared, self.policy, inner, self.actors)

    def _take_over(self, stage: Stage, folder: Path) -> None:
        """Go on from a finished stage."""
        line = read_object(folder / FIGURES_FILE, f"move {folder} away to run the stage anew")
        if stage.kind == "search":
            self.store = self.store.added(BestTexts.load([folder]).found)
            self._log(line | self._stored())
            return
        self.kept = RunFolder(folder).best if stage.kind == "grpo" else folder
        self.policy = Policy.load(self.kept, self.prepared.reasoner, trainable=True)
        scored = self.selection.by_policy(self.policy)
        self._log(line | _heldout(scored))
        self._keep(self.watch(scored), stage.number)

    def _keep(self, scored: Scored, number: int) -> None:
        """Put the policy into `best/` if `grpo.keep` prefers it to those of earlier stages."""
        worth = scored.worth(self.recipe.grpo.keep, number)
        if worth > self.best:
            self.best = worth
            keep_best(self.run.path, self.policy, {"step": number, "worth": worth, **scored.summary()})

    def _log(self, line: dict[str, Any]) -> None:
        """Append a line to `stages.jsonl`, with the texts and seconds of all stages so far."""
        for name in ("texts", "seconds"):
            before = self.lines[-1][f"total/{name}"] if self.lines else 0
            line[f"total/{name}"] = before + line[name]
        self.lines.append(line)
        write_whole(self.run.path / STAGES, "".join(figures_json(line) + "\n" for line in self.lines))
        figures = {name: value for name, value in line.items() if isinstance(value, int | float)}
        if line not in self.sent:
            log_point(figures, len(self.lines) - 1)
        shown = "  ".join(f"{name} {value:,.3f}".removesuffix(".000") for name, value in figures.items())
        log.info(f"{line['stage']}: {shown}")

    def _shown(self, found: Sequence[Found]) -> list[dict[str, Any]]:
        """Texts of a search for a table: what they were found for, and what they are worth."""
        rows = found[: self.recipe.log.completions]
        return [{"question": self.thoughts.questions[row.thought], **vars(row)} for row in rows]

    def _stored(self) -> dict[str, float]:
        """What the best texts found so far are worth."""
        best = list(self.store.best().values())
        if not best:
            return {"store/thoughts": 0}
        figures = {
            "store/thoughts": len(best) / len(self.thoughts),
            "store/reward": sum(found.reward for found in best) / len(best),
            "store/match": sum(found.match for found in best) / len(best),
            "store/distinct": len({found.text for found in best}) / len(best),
        }
        if self.gold:
            right = [claimed(found.text) == claimed(self.gold[found.thought]) for found in best]
            figures["store/right"] = sum(right) / len(right)
        return figures


def _heldout(scored: Scored) -> dict[str, float]:
    length = sum(map(len, scored.texts)) / len(scored.texts)
    return heldout({**scored.summary(), "length": length})
