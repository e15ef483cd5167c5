"""Whether prompts, texts and layers that a recipe asks for fit its reasoner; no weights are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from transformers import PreTrainedTokenizerBase

from reverse_codi.errors import RecipeError, UserError
from reverse_codi.reasoners.checkpoints.hugging_face import read_config, read_tokenizer
from reverse_codi.reasoners.checkpoints.own import own_config
from reverse_codi.reasoners.checkpoints.source import ASSETS
from reverse_codi.reasoners.codi_config import CONFIG_FILE
from reverse_codi.recipe.reading import Target
from reverse_codi.recipe.reasoner import EMBEDDED
from reverse_codi.recipe.schema import Recipe
from reverse_codi.rewards.registry import find_functions
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
        dtype: of its weights, such as "bfloat16".
    """

    n_thoughts: int
    n_layers: int
    n_vocab: int
    positions: int | None
    tokenizer: PreTrainedTokenizerBase
    dtype: str

    @classmethod
    def of(cls, path: str | Path) -> Self | None:
        """Of a reasoner in the own format on this machine; None for any other, which is fetched first."""
        folder = ASSETS / "reasoner" if path == EMBEDDED else Path(path)
        if not (folder / CONFIG_FILE).is_file():
            return None
        own, lm = own_config(folder), read_config(folder)
        positions = getattr(lm, "max_position_embeddings", None)
        tokenizer = read_tokenizer(folder)
        dtype = str(lm.dtype or "float32").removeprefix("torch.")
        return cls(own.n_thoughts, lm.num_hidden_layers, lm.vocab_size, positions, tokenizer, dtype)


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


def check_dtype(recipe: Recipe, weights: str) -> None:
    """Refuse an engine that would compute in another type than weights in half precision.

    The trainer computes as its weights are, and the canary would stop the run after the warm start: an engine
    in float32 and the embedded verbalizer in bfloat16 differ by up to 1.3 nats a token.

    Args:
        recipe: gives the engine.
        weights: type of the reasoner's weights.

    Raises:
        RecipeError: names both keys.
    """
    engine = recipe.rollout.engine.dtype
    if recipe.stages and weights != "float32" and engine != weights:
        raise RecipeError(
            f"the weights of reasoner.path = {recipe.reasoner.path} are {weights} (reasoner.dtype), but "
            f"rollout.engine.dtype = {engine}: trainer and engine would differ; set "
            f"rollout.engine.dtype: {weights}"
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
