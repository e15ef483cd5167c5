"""The folder of one training run: what it is refused for, where its parts lie, its result."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
import yaml

from reverse_codi.processes.memory import machine
from reverse_codi.reasoners.load import reasoner_folder, refuse_recurrent_depth
from reverse_codi.recipe.reasoner import Source
from reverse_codi.recipe.schema import RECIPE_FILE, Recipe
from reverse_codi.storage.cards import write_card
from reverse_codi.storage.files import write_whole
from reverse_codi.storage.folders import clear_temporary, whole_folder
from reverse_codi.storage.json_lines import JsonLog, json_lines
from reverse_codi.storage.lock import owned
from reverse_codi.storage.manifest import check_files, write_manifest
from reverse_codi.trackers.tracker import STAGES as STAGE_AXIS
from reverse_codi.trackers.tracker import WHOLE, log_artifact, start_trackers, tracked
from reverse_codi.trainers.checkpoints import set_aside
from reverse_codi.training import preflight
from reverse_codi.training.memory_log import MemoryLog
from reverse_codi.training.plan_check import check_plan, planned_run
from reverse_codi.training.plan_table import summary, write_plan
from reverse_codi.training.prepare import Prepared
from reverse_codi.training.records import BEST, METRICS, STAGES, rewind
from reverse_codi.training.resuming import CHECKPOINTS, NEW, Start, start_of
from reverse_codi.training.runtime import gold_steps
from reverse_codi.training.stage_folders import READING, READING_FILES, WARM, check_starts
from reverse_codi.verbalize.policy import POLICY_FILES
from reverse_codi.verbalize.publishing.card import verbalizer_card
from reverse_codi.verbalize.publishing.place import Place
from reverse_codi.verbalize.translations.reference_texts import keep_reference_texts
from reverse_codi.verbalize.translator import Translator

log = logging.getLogger(__name__)

_LOST_POLICY = (
    "restore the folder from a copy, or remove it and the newest checkpoint, and give the same command with "
    "--resume"
)


def check(recipe: Recipe, resume: bool, fetch: bool) -> Start:
    """Refuse settings that would fail later, say what a resumed run takes over, and return where it starts.

    Whether this machine is enough is another question: `preflight.check_actors` and `plan_check.check_plan`.

    Args:
        recipe: of the run.
        resume: go on from a checkpoint.
        fetch: bring the reasoner, see `preflight.check`.

    Raises:
        UserError: see `preflight.check` and `resuming.start_of`.
    """
    refuse_recurrent_depth(recipe.reasoner)
    out = Path(recipe.train.out)
    start = start_of(recipe, out, resume)
    for line in start.notes:
        log.warning(line)
    check_starts(recipe, resume)
    for line in preflight.check(recipe, fetch):
        log.warning(line)
    if resume and start.checkpoint is None and recipe.stages and not recipe.reinforce:
        log.info(f"nothing to resume: no checkpoint in {out / CHECKPOINTS}; starting anew")
    for key, (old, new) in start.changed.items():
        log.info(f"{key} = {new} from step {start.done + 1} on (it was {old})")
    return start


@dataclass(frozen=True)
class RunFolder:
    """A run's folder.

    Attributes:
        path: `train.out`.
        start: where RL starts.
        stage: name of the stage of reinforcement whose folder it is, in trackers.
    """

    path: Path
    start: Start = NEW
    stage: str = "grpo"

    @classmethod
    def begin(cls, recipe: Recipe, resume: bool = False) -> Self:
        """Check everything that can be checked, then make the folder.

        Raises:
            UserError: see `check`, `preflight.check_actors` and `plan_check.check_plan`; nothing has been
                written then.
        """
        run = cls(Path(recipe.train.out), check(recipe, resume, fetch=True))
        preflight.check_actors(recipe, join=True)
        # The reasoner is here now, which only its base may have been before.
        planned = planned_run(recipe, Source(path=str(reasoner_folder(recipe.reasoner))))
        if planned is not None:
            check_plan(planned)
        if recipe.train.threads:
            torch.set_num_threads(recipe.train.threads)
        run.path.mkdir(parents=True, exist_ok=True)
        clear_temporary(run.path)
        if not (run.path / RECIPE_FILE).is_file():
            run.write_recipe(recipe)
        if planned is not None:
            write_plan(planned, run.path)
            log.info(summary(planned, machine()))
        log.info(gold_steps(recipe))
        start_trackers(recipe.log)
        return run

    @classmethod
    @contextmanager
    def begun(cls, recipe: Recipe, resume: bool = False) -> Iterator[Self]:
        """The run's folder, which no other run may use meanwhile, and its run in the recipe's trackers.

        Raises:
            InUseError: another run has the folder.
            UserError: see `begin`.
        """
        with owned(recipe.train.out, "train.out"):
            run = cls.begin(recipe, resume)
            with run.tracked(recipe, resume):
                yield run

    @property
    def reading(self) -> Path:
        """Probes and maps."""
        return self.path / READING

    @property
    def warm(self) -> Path:
        """The policy that RL starts from."""
        return self.path / WARM

    @property
    def best(self) -> Path:
        """The policy that `grpo.keep` asks for."""
        return self.path / BEST

    @property
    def policies(self) -> Path:
        """The policies that rollout actors load."""
        return self.path / "policies"

    @property
    def checkpoints(self) -> Path:
        """What RL can be resumed from."""
        return self.path / CHECKPOINTS

    @property
    def memory(self) -> MemoryLog:
        """Where it is noted what the run's processes took."""
        return MemoryLog(self.path)

    @contextmanager
    def tracked(self, recipe: Recipe, resume: bool = False) -> Iterator[None]:
        """The run of the whole training in the recipe's trackers, around those of its stages.

        Args:
            recipe: of the run.
            resume: go on with the one that an earlier process began; one whose stages are there goes on too.
        """
        n = sum(1 for _ in json_lines(self.path / STAGES))
        with tracked(recipe, WHOLE, self.path, again=resume or n > 0, first=n, axis=STAGE_AXIS):
            yield

    def write_recipe(self, recipe: Recipe) -> None:
        """Note what the run follows, in place of an earlier recipe."""
        write_recipe(recipe, self.path)

    def rewind(self) -> None:
        """Drop what was written after the step that RL starts from, and note there which settings changed."""
        set_aside(self.start.found, log.warning)
        for line in rewind(self.path, self.start.done):
            log.warning(line)
        if self.start.changed:
            JsonLog(self.path / METRICS).write({"step": self.start.done, "changed": dict(self.start.changed)})

    def save(self, recipe: Recipe, prepared: Prepared) -> Path:
        """Put the policy, how its texts are read and its recipe into one folder, `verbalizer/`; returns it.

        What it says of the references is kept there, too: `verbalize` takes them along with every text.

        Args:
            recipe: of the run; the policy is the best of its reinforcement, or the warm start without any.
            prepared: has maps and encoded steps.
        """
        folder, adapter = self.path / "verbalizer", self.best if recipe.stages else self.warm
        check_files(adapter, POLICY_FILES, _LOST_POLICY)
        with whole_folder(folder) as temporary:
            for name in POLICY_FILES:
                shutil.copy(adapter / name, temporary / name)
            for name in READING_FILES:
                shutil.copy(prepared.folder / name, temporary / name)
            write_recipe(recipe, temporary)
            write_manifest(temporary, (*POLICY_FILES, *READING_FILES))
            translator = Translator(prepared.reasoner, temporary)
            keep_reference_texts(translator, prepared.metric)
            place = Place.of(prepared.reasoner, recipe.reasoner)
            write_card(temporary, verbalizer_card(translator, prepared.metric, place, str(folder)))
        log_artifact("verbalizer", "model", [folder])
        return folder


def write_recipe(recipe: Recipe, folder: Path) -> None:
    """Keep a resolved recipe beside what was made by it."""
    write_whole(folder / RECIPE_FILE, yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))
