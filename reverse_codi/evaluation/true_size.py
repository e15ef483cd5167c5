"""What a run at a public model's true size needs where its weights cannot be had: problems, files, thoughts.

Random weights think nothing and write no steps, and a run would end there. So after the traces are collected
their vectors are replaced: step k is planted in h_k (`evaluation.planted`). The gold steps are laid beside
them as if the model had written them, but for the last few, which it writes itself. Nothing else is changed,
and no shape is.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from reverse_codi.errors import RecipeError
from reverse_codi.evaluation.planted import plant_texts
from reverse_codi.reading.claims import Content, claims_text
from reverse_codi.reasoners.checkpoints.random_weights import PUBLIC, PublicLayout, Written, write_random
from reverse_codi.reasoners.load import load_reasoner, reasoner_folder
from reverse_codi.recipe.schema import Recipe
from reverse_codi.storage.files import strict_json, write_whole
from reverse_codi.storage.folders import whole_folder
from reverse_codi.tasks.arithmetic import Arithmetic
from reverse_codi.tasks.base import Problem, Split
from reverse_codi.traces.store import TraceStore, TraceWriter
from reverse_codi.training.prepare import trace_both
from reverse_codi.verbalize.kept_claims import kept_claims
from reverse_codi.verbalize.self_generated_cot import FILE
from reverse_codi.verbalize.thoughts import thought_sites

# Size of the noise, where that of the planted states is 1.
NOISE = 0.3
# Generated problems, where no data are given.
GENERATED = 8_000
_SHARD_ROWS = 1_000


def layout_of(recipe: Recipe) -> PublicLayout:
    """The layout of a recipe's checkpoint.

    Raises:
        RecipeError: none is known; names those that are.
    """
    if recipe.reasoner.path not in PUBLIC:
        known = ", ".join(PUBLIC)
        raise RecipeError(
            f"reasoner.path = {recipe.reasoner.path!r}: no layout of random weights is known for it; there "
            f"are {known}"
        )
    return PUBLIC[recipe.reasoner.path]


def generated_rows(folder: Path, n: int = GENERATED, seed: int = 0) -> Path:
    """Write generated word problems as rows of GSM8K, and return their file; one that is there is kept.

    Args:
        folder: gets `train.jsonl`.
        n: number of problems.
        seed: of the problems.
    """
    file = folder / "train.jsonl"
    if not file.is_file():
        task = Arithmetic(max_value=2_000, max_operand=400)
        rows = [_row(problem) for problem in task.problems(Split.TRAIN, n, seed)]
        write_whole(file, "".join(strict_json(row) + "\n" for row in rows))
    return file


def _row(problem: Problem) -> dict[str, str]:
    lines = [f"{step.english} <<{step.claim.replace(' ', '')}>>" for step in problem.steps]
    return {"question": problem.question, "answer": "\n".join([*lines, f"#### {problem.answer}"])}


def with_random_weights(
    recipe: Recipe, problems: Sequence[Problem], folder: Path, layers: int, seed: int
) -> Recipe:
    """The recipe with random weights instead of its public checkpoint.

    Args:
        recipe: names the checkpoint.
        problems: the tokenizers are made from their text.
        folder: gets the files, and what they are converted to.
        layers: number of layers; width and vocabulary are the checkpoint's.
        seed: of the weights.

    Raises:
        RecipeError: the checkpoint's layout is not known.
    """
    texts = [text for problem in problems for text in (problem.question, claims_text(problem.claims))]
    written = write_random(layout_of(recipe), folder / "hub", texts, layers, seed)
    places = {"path": str(written.path), "base": str(written.base), "converted": str(folder / "converted")}
    return recipe.model_copy(update={"reasoner": recipe.reasoner.model_copy(update=places)})


def write_model(recipe: Recipe, data: Path, hub: Path, layers: int | None, seed: int) -> Written:
    """Random weights for a recipe's checkpoint, with tokenizers made from the problems' text."""
    rows = data.read_text().splitlines()
    random.Random(seed).shuffle(rows)
    texts = [text for row in rows[:2000] for text in json.loads(row).values() if isinstance(text, str)]
    return write_random(layout_of(recipe), hub, texts, layers, seed)


def plant(recipe: Recipe, writes: int, seed: int = 0) -> Path:
    """Collect what is missing of a recipe's traces, plant the gold steps, and lay them beside as written.

    Args:
        recipe: of the run.
        writes: number of training questions that the model shall solve in writing itself.
        seed: of the map and the noise.

    Returns:
        Folder of the reasoner in the own format.
    """
    reasoner = load_reasoner(recipe.reasoner)
    train, heldout = trace_both(recipe, reasoner)
    stores, folders = (train, heldout), (recipe.trace.out, recipe.trace.heldout_out)
    claims = [of for store in stores for of in store.claims]
    sites = thought_sites(reasoner.n_thoughts)
    texts = {site: [Content((site.index,)).text(of) for of in claims] for site in sites}
    questions = [question for store in stores for question in store.questions]
    made = plant_texts(recipe, reasoner, texts, questions, NOISE, seed)
    thoughts = torch.stack(list(made.thoughts.values()), 1)  # [N, K, d]
    of_stores = thoughts.split([len(store) for store in stores])
    for store, folder, of_store in zip(stores, folders, of_stores, strict=True):
        hidden = as_large_as(store.hidden_states, of_store)
        latents = reasoner.project(hidden[:, :-1].flatten(0, 1)).view(store.latent_inputs.shape)
        rewrite(store, Path(folder), hidden, latents)
    if recipe.needs_self_generated_cot:
        given = max(0, len(train) - writes)
        file, gold = Path(recipe.trace.out) / FILE, train.claims
        kept_claims(file, "written", reasoner, train.questions[:given], lambda start, end: gold[start:end])
    return reasoner_folder(recipe.reasoner)


def as_large_as(hidden: Tensor, thoughts: Tensor) -> Tensor:
    """Thoughts [N, K, d] in place of a model's own [N, K + 1, d], with their mean and size; h_K stays."""
    planted = hidden.clone()
    own = hidden[:, :-1]
    size = own.std(0, unbiased=False).mean(1).clamp(min=0.1)  # [K]
    planted[:, :-1] = own.mean(0) + size[:, None] * thoughts / thoughts.std()
    return planted


def rewrite(store: TraceStore, folder: Path, hidden: Tensor, latents: Tensor) -> None:
    """Put vectors [N, K + 1, d] and [N, K, d] in place of a store's own."""
    with whole_folder(folder) as temporary:
        writer = TraceWriter.open(temporary, store.manifest.header, len(store))
        for start in range(0, len(store), _SHARD_ROWS):
            rows = range(start, min(start + _SHARD_ROWS, len(store)))
            writer.append_shard(
                [
                    replace(store[row], hidden_states=hidden[row].numpy(), latent_inputs=latents[row].numpy())
                    for row in rows
                ]
            )


@dataclass(frozen=True)
class Counts:
    """How much of everything a run at true size does.

    Attributes:
        traces: training questions.
        heldout: held-out questions.
        warm_steps: optimizer steps of the warm start.
        warm_batch: thoughts in each.
        thoughts: in each of GRPO's two steps.
        samples: texts for each thought.
        eval_thoughts: held-out thoughts in an evaluation.
        dtype: of weights and engine.
    """

    traces: int
    heldout: int
    warm_steps: int
    warm_batch: int
    thoughts: int
    samples: int
    eval_thoughts: int
    dtype: str


# On two CPU cores.
COUNTS = {
    "zen-E/CODI-gpt2": Counts(256, 64, 10, 64, 16, 8, 32, "float32"),
    "bcywinski/codi_llama1b-answer_only": Counts(64, 16, 2, 8, 2, 4, 8, "bfloat16"),
}
# On a GPU steps are as large as the recipes', and fewer.
ON_GPU = Counts(2000, 256, 20, 256, 64, 16, 256, "bfloat16")


def overrides(
    asked: Recipe, out: Path, data: Path, written: Written, device: Literal["cpu", "cuda"] = "cpu"
) -> list[tuple[str, str, str]]:
    """Keys that such a run sets: name, value and why.

    Args:
        asked: the recipe as its file has it.
        out: folder of the run.
        data: rows of GSM8K.
        written: the weights.
        device: of every process that computes.
    """
    counts = ON_GPU if device == "cuda" else COUNTS[asked.reasoner.path]
    places = {
        "reasoner.path": written.path,
        "reasoner.base": written.base,
        "reasoner.converted": out / "converted",
        "task.path": data,
        "trace.out": out / "traces",
        "train.out": out / "train",
        "log.report_to": "[]",
    }
    machine = {
        "reasoner.device": device,
        "reasoner.dtype": counts.dtype,
        "rollout.engine.device": device,
        "rollout.engine.dtype": counts.dtype,
    }
    if device == "cpu":
        machine |= {"rollout.gpus": "0", "reward.gpus_per_actor": "0", "trace.batch_size": "32"}
    smaller = {
        "trace.n": counts.traces,
        "trace.n_heldout": counts.heldout,
        "warm_start.steps": counts.warm_steps,
        "warm_start.batch_size": counts.warm_batch,
        "warm_start.eval_steps": counts.warm_steps,
        "grpo.steps": 2,
        "grpo.thoughts_per_step": counts.thoughts,
        "grpo.samples": counts.samples,
        "grpo.eval_every": 2,
        "grpo.eval_thoughts": counts.eval_thoughts,
    }
    ending = {"grpo.max_new_tokens": 16, "reasoner.max_written_tokens": 32}
    few = {"reading.encoded_threshold": 0.02}
    reasons = (
        (places, "random weights instead of the hub's, and a folder of their own"),
        (machine, "a GPU in half precision" if device == "cuda" else "a machine without a GPU"),
        (smaller, "fewer, so that it ends soon"),
        (ending, "random weights never end a text, which is 10 tokens long where a verbalizer has learnt"),
        (few, "probes starve on so few traces, and a run where they read nothing ends"),
    )
    return [(name, str(value), why) for keys, why in reasons for name, value in keys.items()]
