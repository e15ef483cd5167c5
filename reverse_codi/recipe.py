"""A recipe: one YAML file an experiment, one section a stage; `--section.key value` lies over it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from reverse_codi.config import RecipeError, Section, override, read_yaml, validated
from reverse_codi.grpo import GrpoSection
from reverse_codi.question_checks import OnBad
from reverse_codi.reading.spec import ReadSpec
from reverse_codi.reading.study import FRAMED
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.load import Source, load_reasoner, reasoner_folder
from reverse_codi.reasoners.pretrained import LoraSection
from reverse_codi.reasoners.recall import Recall
from reverse_codi.reasoners.training import Phase
from reverse_codi.reward_section import RewardSection, beside
from reverse_codi.rollout.pool import RolloutSection
from reverse_codi.tasks import TASKS, known_task, make_task
from reverse_codi.tasks.base import Split, Task, TaskError
from reverse_codi.verbalizer.policy import VerbalizerSection
from reverse_codi.verbalizer.warm_start import WarmStartSection


class TaskSection(Section):
    """Where questions come from."""

    name: Annotated[str, AfterValidator(known_task)] = "arithmetic"
    """One of docs/tasks.md: arithmetic, graph, gsm8k, prosqa, jsonl, ..."""
    path: str | None = Field(default=None, exclude_if=lambda path: path is None)
    """Hub id, file or folder of the data, instead of the task's own hub id."""
    options: dict[str, Any] = {}
    """Keyword arguments of the task (heldout_percent, max_value, ...)."""

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        self.build()
        return self

    def build(self) -> Task:
        """The task; its data is read when problems are asked for."""
        if self.path is None:
            return make_task(self.name, **self.options)
        if "source" in self.options:
            raise TaskError(f"task.path {self.path!r} and task.options.source are one thing; remove one")
        if "source" not in TASKS[self.name].__dataclass_fields__:
            raise TaskError(f"task {self.name!r} makes its problems itself; remove task.path {self.path!r}")
        return make_task(self.name, source=self.path, **self.options)


class ReasonerSection(Source):
    """Which latent reasoning model is read."""

    device: str = "cpu"
    """Torch device of forward passes outside Ray actors."""

    @property
    def folder(self) -> Path:
        """Where it lies in the own format; engines load the language model from there."""
        return reasoner_folder(self)

    def load(self) -> CodiReasoner:
        """The frozen reasoner."""
        return load_reasoner(self, self.device)

    @model_serializer(mode="wrap")
    def _recorded(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Path, device and what differs from its default: hashes of recipes without the rest stay."""
        values: dict[str, Any] = handler(self)
        fields = type(self).model_fields
        return {k: v for k, v in values.items() if k in ("path", "device") or v != fields[k].default}


class DistillSection(Section):
    """Training a reasoner."""

    method: Literal["codi", "coconut"] = "codi"
    """codi (self-distillation into thoughts that pass a projection) or coconut (staged curriculum, thoughts
    fed as they are: of `latent`, only steps, batch_size, learning_rate and weight_decay count)."""

    out: str = "runs/tiny/reasoner"
    """Folder of checkpoints and of the finished reasoner."""
    base: str | None = None
    """Causal LM to start from: a folder, a hub id, a .gguf file, or PACKAGE:FILE.gguf for one that an
    installed package carries; empty: a new Llama of `shape` with the task's vocabulary."""
    lora: LoraSection | None = None
    """Train a LoRA beside the base's weights, the projection and the added embeddings, and merge at the end;
    empty: train all weights."""
    shape: dict[str, Any] = {}
    """LlamaConfig arguments of a new model."""
    n_thoughts: int = Field(default=6, ge=0, le=64)
    """K; 0 trains the twin that does not think."""
    thoughts_per_step: int = Field(default=2, gt=0)
    """coconut: thoughts that stand for one step; n_thoughts is a multiple of it."""
    projection_width: int = Field(default=320, gt=0)
    """Hidden width of prj; coconut has none."""
    projection_start: Literal["next_token", "random"] = "next_token"
    """next_token (fitted to hand on the next token's embedding before the latent phase, which costs much
    with a large vocabulary) or random, as CODI has it."""
    max_written_tokens: int = Field(default=64, gt=0)
    """Longest solution in text mode; a model that writes no end is stopped there."""
    n_problems: int = Field(default=150_000, gt=0)
    """Distinct training problems."""
    seed: int = 0
    """Of weights, problems and data order."""
    threads: int = Field(default=0, ge=0)
    """torch threads; 0 leaves torch's choice."""
    save_steps: int = Field(default=200, gt=0)
    """Optimizer steps between checkpoints."""
    on_bad_question: OnBad = "error"
    """What to do where a problem with its solution is longer than the base's positions: error or skip."""
    recall: Recall | None = None
    """First of all a new model learns to recite what questions state, for tasks with things to look up."""
    written: Phase = Phase(steps=700, student=0.0, distill=0.0)
    """Written steps only."""
    latent: Phase = Phase(steps=3000)
    """Last phase: CODI, or all of Coconut's stages, which share its steps evenly."""


class TraceSection(Section):
    """Collecting traces."""

    out: str = "runs/tiny/traces"
    """Folder of the trace store."""
    split: Split = Split.TRAIN
    """train or heldout."""
    n: int = Field(default=20_000, gt=0)
    """Questions."""
    n_heldout: int = Field(default=1_000, gt=0)
    """Held-out questions that training is judged on, in a store of their own beside `out`."""
    seed: int = 1
    """Of the questions drawn."""
    shard_rows: int = Field(default=5_000, gt=0)
    """Rows a shard."""
    batch_size: int = Field(default=1_000, gt=0)
    """Questions handed to the reasoner at once."""
    on_bad_question: OnBad = "error"
    """What to do where the reasoner cannot be asked a question (it is empty, or longer than the model's
    positions): error, or skip, which makes fewer traces."""


class ReadingSection(Section):
    """How texts are read, and what the maps are fitted on."""

    spec: ReadSpec = ReadSpec()
    """The ReadSpec; its default is what scripts/reading_study found best."""
    fit_on: Literal["written", "gold"] = "written"
    """written (claims of the model's own written steps, no labels) or gold (claims of the task)."""
    traces: int = Field(default=30_000, ge=0)
    """Training traces that probes and maps are fitted on, the first ones; 0 for all."""
    framed: float = Field(default=FRAMED, ge=0, le=1)
    """Share of texts that the maps are fitted on among random words, so that wording does not count."""
    disagreeing: int = Field(default=3, ge=1)
    """written: times that a trace counts whose thoughts and written steps give different answers. They are
    rare, and the only ones where thinking and solving part."""
    held_threshold: float = Field(default=0.6, gt=0, le=1)
    """Probe accuracy from which a site holds a step, where the task makes no minimal pairs that decide it."""


class TrainSection(Section):
    """A training run as a whole."""

    out: str = "runs/tiny/train"
    """Folder of everything that the run writes."""
    threads: int = Field(default=0, ge=0)
    """torch threads of the trainer; 0 leaves torch's choice."""


class LogSection(Section):
    """Where figures go beside metrics.jsonl."""

    wandb: bool = True
    """Log to Weights & Biases; offline unless the user is logged in."""
    project: str = "reverse_codi"
    """W&B project."""


class Recipe(Section):
    """All stages of one experiment."""

    task: TaskSection = TaskSection()
    """Questions."""
    reasoner: ReasonerSection = ReasonerSection()
    """The model that is read."""
    distill: DistillSection = DistillSection()
    """python -m reverse_codi.distill"""
    trace: TraceSection = TraceSection()
    """python -m reverse_codi.trace"""
    reading: ReadingSection = ReadingSection()
    """How texts are read."""
    verbalizer: VerbalizerSection = VerbalizerSection()
    """The policy."""
    warm_start: WarmStartSection = WarmStartSection()
    """Supervised fine-tuning."""
    rollout: RolloutSection = RolloutSection()
    """Actors that write."""
    reward: RewardSection = RewardSection()
    """Actors that read and score."""
    grpo: GrpoSection = GrpoSection()
    """Reinforcement learning."""
    train: TrainSection = TrainSection()
    """python -m reverse_codi.train"""
    log: LogSection = LogSection()
    """Logging."""

    @property
    def hash(self) -> str:
        """SHA-256 of the resolved recipe."""
        return _hash(self.model_dump(mode="json"))

    @property
    def trace_hash(self) -> str:
        """SHA-256 of what decides the traces; a change of learning rate must not refuse finished ones."""
        values = self.model_dump(mode="json", include={"task", "reasoner", "trace"})
        del values["trace"]["on_bad_question"]  # a store says itself how many traces it has
        return _hash(values)

    @property
    def asked_hash(self) -> str:
        """SHA-256 of who is asked what kind of questions, however many."""
        return _hash(self.model_dump(mode="json", include={"task", "reasoner"}))


def _hash(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def load_recipe(arguments: Sequence[str]) -> Recipe:
    """Read `RECIPE [--section.key value ...]`.

    Raises:
        RecipeError: no file, an unknown key (the nearest valid one is named), a value out of range.
    """
    if not arguments or arguments[0].startswith("--"):
        raise RecipeError("no recipe given; write a YAML file first, e.g. recipes/tiny.yaml")
    path, *overrides = arguments
    recipe = validated(Recipe, override(read_yaml(path), overrides), path)
    return recipe.model_copy(update={"reward": beside(recipe.reward, Path(path).parent)})
