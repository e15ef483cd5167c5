"""Whether prompts, texts and layers that a recipe asks for fit its reasoner; no weights are read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.pytorch_utils import Conv1D

from reverse_codi.reasoners.checkpoints.accounting import skeleton
from reverse_codi.reasoners.checkpoints.source import ASSETS
from reverse_codi.reasoners.codi_config import CONFIG_FILE, CodiConfig
from reverse_codi.recipe.reading import Target
from reverse_codi.recipe.reasoner import EMBEDDED
from reverse_codi.recipe.schema import Recipe
from reverse_codi.rewards.registry import find_functions
from reverse_codi.utils.config import RecipeError, UserError
from reverse_codi.verbalize.config import MARKER, VerbalizerConfig, VerbalizerConfigError, check_template


@dataclass(frozen=True)
class ReasonerFacts:
    """What checks need to know of a reasoner; no weights are read.

    Attributes:
        n_thoughts: K.
        n_layers: hidden layers, embeddings not counted.
        n_vocab: rows of the embedding.
        positions: tokens that the model can place; None where its configuration does not say.
        tokenizer: its tokenizer.
        linear: names of its linear layers, without those of the modules around them.
    """

    n_thoughts: int
    n_layers: int
    n_vocab: int
    positions: int | None
    tokenizer: PreTrainedTokenizerBase
    linear: frozenset[str]

    @classmethod
    def of(cls, path: str | Path) -> Self | None:
        """Of a reasoner in the own format on this machine; None for any other, which is fetched first."""
        folder = ASSETS / "reasoner" if path == EMBEDDED else Path(path)
        if not (folder / CONFIG_FILE).is_file():
            return None
        own = CodiConfig.of_record(json.loads((folder / CONFIG_FILE).read_text()))
        lm = AutoConfig.from_pretrained(folder)
        positions = getattr(lm, "max_position_embeddings", None)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        linear = linear_layers(skeleton(lm))
        return cls(own.n_thoughts, lm.num_hidden_layers, lm.vocab_size, positions, tokenizer, linear)


def linear_layers(model: PreTrainedModel) -> frozenset[str]:
    """Names of the layers that a LoRA may target: all linear ones (GPT-2's are `Conv1D`) but the head."""
    head = model.get_output_embeddings()
    found = ((name, module) for name, module in model.named_modules() if module is not head)
    return frozenset(
        name.rpartition(".")[2] for name, module in found if isinstance(module, torch.nn.Linear | Conv1D)
    )


def check_targets(recipe: Recipe, facts: ReasonerFacts) -> None:
    """Refuse a LoRA on layers that the model lacks.

    Raises:
        RecipeError: names them, and the layers that there are.
    """
    if missing := [name for name in recipe.verbalizer.target_modules if name not in facts.linear]:
        there = ", ".join(sorted(facts.linear))
        raise RecipeError(
            f"verbalizer.target_modules names {', '.join(missing)}, which {recipe.reasoner.path} lacks; its "
            f"linear layers are [{there}]"
        )


def check_template_alone(recipe: Recipe) -> None:
    """Refuse a template that fits no number of slots.

    Raises:
        RecipeError: it has no place for a thought, or several for one.
    """
    template = recipe.verbalizer.template
    if MARKER not in template or (not whole_trace(recipe) and template.count(MARKER) > 1):
        times = template.count(MARKER)
        raise RecipeError(f"verbalizer.template = {template!r} has {MARKER} {times} times; write it once")


def prompt_length(recipe: Recipe, facts: ReasonerFacts) -> int:
    """Tokens of the verbalizer's prompt.

    Raises:
        RecipeError: the template does not fit the number of slots.
    """
    slots = facts.n_thoughts if whole_trace(recipe) else 1
    template = recipe.verbalizer.template
    try:
        check_template(template, slots)
    except VerbalizerConfigError as error:
        raise RecipeError(f"verbalizer.{error}") from None
    verbalizer_config = VerbalizerConfig(
        template=template, n_slots=slots, n_vocab=facts.n_vocab, reasoner_hash="", tokenizer_hash=""
    )
    return len(verbalizer_config.build_prompt(facts.tokenizer, range(slots)))


def check_lengths(recipe: Recipe, prompt: int, positions: int | None) -> None:
    """Refuse prompts and texts that do not fit the engine or the model.

    Args:
        recipe: gives the longest text and the engine.
        prompt: tokens of a prompt.
        positions: tokens that the model can place, if that is known.

    Raises:
        RecipeError: names the limit and both numbers.
    """
    engine = recipe.rollout.engine
    text = max(section.max_new_tokens for section in (recipe.grpo, *recipe.grpo_sections))
    both = f"a prompt of {prompt} and grpo.max_new_tokens = {text} make {prompt + text} tokens"
    if positions is not None and prompt + text > positions:
        raise RecipeError(f"{both}, but the model has {positions} positions; lower grpo.max_new_tokens")
    if not recipe.stages:
        return
    if prompt + text > engine.max_model_len:
        fix = "raise it, or lower grpo.max_new_tokens"
        raise RecipeError(f"{both}, beyond rollout.engine.max_model_len = {engine.max_model_len}; {fix}")
    if positions is not None and engine.kind == "vllm" and engine.max_model_len > positions:
        raise RecipeError(
            f"rollout.engine.max_model_len = {engine.max_model_len}, but the model has {positions} positions "
            "and vLLM refuses more; lower it"
        )


def check_layers(recipe: Recipe, facts: ReasonerFacts) -> None:
    """Refuse layers that the model does not have, in the reading and in what rewards ask for.

    Raises:
        UserError: names who asks.
    """
    spec = recipe.reading.spec
    asked = {"reading.spec": spec.layers}
    asked |= {f"reward {f.name}": f.layers for f in find_functions(recipe.reward) if f.layers}
    for who, layers in asked.items():
        try:
            spec.model_copy(update={"layers": layers}).layer_indices(facts.n_layers + 1)
        except UserError as error:
            raise RecipeError(f"{who}: {error}") from None


def whole_trace(recipe: Recipe) -> bool:
    """Whether a text stands for a whole trace."""
    return recipe.reading.spec.target is Target.ANSWER
