"""`reverse-codi distill RECIPE`: train a reasoner, CODI or Coconut, from a base of written steps.

The same command continues a stopped run from its newest checkpoint.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerBase, set_seed

from reverse_codi.errors import UserError
from reverse_codi.reasoners.checkpoints.prompting import Prompting
from reverse_codi.reasoners.codi import CodiConfig, CodiReasoner, new_language_model
from reverse_codi.reasoners.distill.coconut import (
    CoconutCollator,
    CoconutTrainer,
    Stage,
    curriculum,
    stage_steps,
)
from reverse_codi.reasoners.distill.data import ProblemRows
from reverse_codi.reasoners.distill.phases import PhaseJob, train_phase
from reverse_codi.reasoners.distill.pretrained import load_base, merged, with_lora
from reverse_codi.reasoners.distill.projection_start import scale_projection, start_projection
from reverse_codi.reasoners.distill.recall import Statements, learn
from reverse_codi.reasoners.distill.training_record import write_record
from reverse_codi.reasoners.latent_lm import LatentLM, projection
from reverse_codi.reasoners.question_checks import admitted
from reverse_codi.recipe.distill import DistillSection, Phase, Recall
from reverse_codi.recipe.schema import Recipe
from reverse_codi.storage.files import DamagedError, whole_file
from reverse_codi.storage.folders import clear_temporary
from reverse_codi.storage.lock import owned
from reverse_codi.storage.manifest import check_files, write_manifest
from reverse_codi.storage.stages import file_hash, finished, record
from reverse_codi.tasks.base import HasVocabulary, Problem, Split, Task
from reverse_codi.tasks.words import word_tokenizer
from reverse_codi.trackers.tracker import start_trackers, tracked
from reverse_codi.trainers.checkpoints import last_complete_checkpoint, steps_of

log = logging.getLogger(__name__)

# Number of problems for fitting the start of the projection.
PROJECTION_ROWS = 8_000
WEIGHTS = "model.safetensors"
# Phases before the model thinks.
BEFORE_THOUGHTS = ("recall", "written")


def new_model(section: DistillSection, task: Task, seed: int) -> tuple[LatentLM, CodiReasoner]:
    """An untrained reasoner: from a base checkpoint if the recipe names one, else from nothing."""
    set_seed(seed)
    width = section.projection_width if section.method == "codi" else 0
    if section.base is None:
        if not isinstance(task, HasVocabulary):
            raise UserError("distill.base is empty and this task has no closed vocabulary; name a base model")
        tokenizer: PreTrainedTokenizerBase = word_tokenizer(task.vocabulary())
        lm = new_language_model(tokenizer, **section.shape)
        # CODI's layout: pad, begin-of-thought and end-of-thought follow the vocabulary.
        asked: Prompting = {"bot_id": len(tokenizer) + 1, "eot_id": len(tokenizer) + 2}
    else:
        base = load_base(section.base)
        lm, tokenizer, asked = base.lm, base.tokenizer, base.prompting
    asked["max_written_tokens"] = section.max_written_tokens
    config = CodiConfig(n_thoughts=section.n_thoughts, projection_width=width, **asked)
    model = LatentLM(
        lm,
        projection(lm.config.hidden_size, width),
        section.n_thoughts,
        config.bot_id,
        config.eot_id,
    )
    return model, CodiReasoner(model, tokenizer, config)


def distill(recipe: Recipe) -> CodiReasoner:
    """Train every phase of `recipe.distill` and save the reasoner in its folder.

    Raises:
        InUseError: another run has the folder.
        UserError: the folder cannot be written, or a phase diverges.
    """
    with owned(recipe.distill.out, "distill.out"):
        clear_temporary(Path(recipe.distill.out))
        return _distilled(recipe)


def _distilled(recipe: Recipe) -> CodiReasoner:
    section = recipe.distill
    start_trackers(recipe.log)
    task = recipe.task.build()
    model, reasoner = new_model(section, task, section.seed)
    adapted = with_lora(model.lm, section.lora, [model.bot_id, model.eot_id]) if section.lora else None
    stages = curriculum(section.n_thoughts, section.thoughts_per_step) if section.method == "coconut" else []
    shares = stage_steps(len(stages), section.latent.steps, section.stage_steps) if stages else []
    problems = task.problems(Split.TRAIN, section.n_problems, section.seed)
    rows = ProblemRows(problems, reasoner.tokenizer, reasoner.config)
    problems, rows = fitting(problems, rows, reasoner, section)
    learnt = sum(p.numel() for p in model.parameters() if p.requires_grad)
    log.info(
        f"{sum(p.numel() for p in model.parameters()):,} parameters, {learnt:,} of them trained, "
        f"{len(rows):,} training problems"
    )
    run = _Run(recipe, reasoner)
    if (recall := section.recall) is not None:
        run.kept("recall", recall, lambda _: _recall(run, task, recall, problems))
    run.phase("written", section.written, lambda: rows)
    for stage, steps in zip(stages, shares, strict=True):
        run.phase(
            stage.name,
            section.latent.model_copy(update={"steps": steps}),
            partial(_rows_of, stage, problems, reasoner),
            trainer_of=partial(CoconutTrainer, stage),
            collator=CoconutCollator(
                reasoner.tokenizer.pad_token_id,
                model.eot_id,
                stage,
                section.latent.hide_question,
                section.latent.truncate,
            ),
        )
    if section.method == "codi":
        run.phase("latent", section.latent, lambda: _with_started_projection(run, rows))
    if adapted is not None:
        model.lm = merged(adapted)
    model.eval()
    record(Path(section.out), made_from(recipe))
    reasoner.save_pretrained(section.out)
    write_record(section.out, max(len(row.question) for row in rows.rows))
    log.info(f"reasoner saved in {section.out}; hash {reasoner.content_hash[:12]}")
    return reasoner


def made_from(recipe: Recipe) -> dict[str, Any]:
    """All settings that decide which reasoner `recipe` makes."""
    # Recorded only where it is set, so that reasoners made before there was this key stay known.
    even = {"stage_steps"} if recipe.distill.stage_steps == 0 else set()
    section = recipe.distill.model_dump(mode="json", exclude={"out", "threads", "save_steps", *even})
    return {"distill": section, "task": recipe.task.model_dump(mode="json")}


def fitting(
    problems: Sequence[Problem], rows: ProblemRows, reasoner: CodiReasoner, section: DistillSection
) -> tuple[Sequence[Problem], ProblemRows]:
    """The problems that fit into the base's positions with their solutions.

    Raises:
        QuestionError: one does not fit, and `distill.on_bad_question` is error.
    """
    positions = getattr(reasoner.lm.config, "max_position_embeddings", None)
    lengths = [row.length(section.n_thoughts, section.method == "coconut") for row in rows.rows]
    if positions is None or max(lengths) <= positions:
        return problems, rows
    found = [
        f"question, thoughts and solution have {length} tokens; the base has {positions} positions"
        if length > positions
        else None
        for length in lengths
    ]
    problems = admitted(problems, found, section.on_bad_question, "distill.on_bad_question")
    return problems, ProblemRows(problems, reasoner.tokenizer, reasoner.config)


def _rows_of(stage: Stage, problems: Sequence[Problem], reasoner: CodiReasoner) -> ProblemRows:
    """The training data of one of Coconut's stages."""
    return ProblemRows(problems, reasoner.tokenizer, reasoner.config, stage.n_skipped)


def _with_started_projection(run: _Run, rows: ProblemRows) -> ProblemRows:
    """CODI's rows, after the projection has its start."""
    section, reasoner = run.recipe.distill, run.reasoner
    if section.n_thoughts and section.projection_start == "random":
        scale_projection(reasoner.model)
    elif section.n_thoughts:
        some = rows.rows[:PROJECTION_ROWS]
        right = start_projection(reasoner.model, some, reasoner.tokenizer.pad_token_id, section.seed)
        log.info(f"projection started: {right:.3f} of latent inputs nearest to the next token")
    return rows


@dataclass
class _Run:
    """The common part of all phases of a training run.

    Attributes:
        recipe: of the run.
        reasoner: trained in place.
        before: the weights after the previous phase; None before the first.
    """

    recipe: Recipe
    reasoner: CodiReasoner
    before: Path | None = None

    def phase(self, name: str, phase: Phase, rows: Callable[[], ProblemRows], **how: Any) -> None:
        """Train one phase, or load the result of an earlier run; `how` goes to `train_phase`."""

        def train(out: Path) -> None:
            ready = rows()
            self.reasoner.model.train()
            checkpoint = last_complete_checkpoint(out)  # `train_phase` says what is wrong with newer ones
            done = steps_of(checkpoint)
            place: dict[str, Any] = {"again": done > 0, "first": done + 1, "job": "distill"}
            with tracked(self.recipe, name, Path(self.recipe.distill.out), **place) as reporting:
                job = PhaseJob(
                    phase=phase,
                    out=out,
                    seed=self.recipe.distill.seed,
                    save_steps=self.recipe.distill.save_steps,
                    reporting=reporting,
                )
                train_phase(self.reasoner.model, self.reasoner.tokenizer, ready, job, **how)

        self.kept(name, phase, train)

    def kept(self, name: str, settings: Phase | Recall, train: Callable[[Path], None]) -> None:
        """Train the model in place and keep its weights, or load kept ones.

        Raises:
            StageError: the kept weights were made with other settings.
            DamagedError: they, or every checkpoint of the phase, are damaged.
        """
        model = self.reasoner.model
        out = Path(self.recipe.distill.out) / name
        weights = out / WEIGHTS
        inputs = self._inputs(name, settings)
        if finished(out, inputs, (WEIGHTS,), resumable=("checkpoint-*",)):
            log.info(f"phase {name}: already done, {weights}")
        else:
            record(out, inputs)
            train(out)
            with whole_file(weights) as temporary:
                save_file({k: v.contiguous().clone() for k, v in model.state_dict().items()}, temporary)
            write_manifest(out, (WEIGHTS,))
        anew = f"restore it from a copy, or move {out} away to train the phase anew"
        check_files(out, (WEIGHTS,), anew)
        try:
            model.load_state_dict(load_file(weights))
        except SafetensorError as error:
            raise DamagedError(f"{weights} is cut or damaged ({error}); {anew}") from None
        self.before = weights

    def _inputs(self, name: str, settings: Phase | Recall) -> dict[str, Any]:
        """The inputs of one phase, without settings that only later phases use."""
        shared = {"base", "lora", "shape", "projection_width", "max_written_tokens", "n_problems", "seed"}
        if name not in BEFORE_THOUGHTS:
            shared |= {"method", "n_thoughts", "thoughts_per_step", "projection_start"}
        return {
            "distill": self.recipe.distill.model_dump(mode="json", include=shared),
            "task": self.recipe.task.model_dump(mode="json"),
            "phase": settings.model_dump(mode="json"),
            "before": file_hash(self.before) if self.before else None,
        }


def _recall(run: _Run, task: Task, recall: Recall, problems: Sequence[Problem]) -> None:
    """Attempts at recital, the first with the weights that the model has."""
    section, model, tokenizer = run.recipe.distill, run.reasoner.model, run.reasoner.tokenizer
    statements = Statements.of([p.question for p in problems], tokenizer, recall.starts_with)
    for attempt in range(recall.attempts):
        seed = section.seed + attempt
        if attempt:
            log.info(f"recall: not found; attempt {attempt + 1}, with other weights")
            model.load_state_dict(new_model(section, task, seed)[0].state_dict())
        if learn(model, statements, recall, tokenizer.pad_token_id, seed):
            return
    raise UserError(
        f"distill.recall: not learnt in {recall.attempts} attempts; give more attempts, or another "
        "distill.recall.learning_rate or distill.seed"
    )
