"""A reasoner of a public model's shape with random weights, and a fresh verbalizer beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast

from reverse_codi.reading.affine import AffineMap
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reading.reader import Reader
from reverse_codi.reasoners.codi import CodiConfig, CodiReasoner, new_language_model
from reverse_codi.reasoners.latent_lm import LatentLM, projection
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.reading import ReadSpec
from reverse_codi.recipe.verbalizer import VerbalizerSection
from reverse_codi.tasks.arithmetic import Arithmetic
from reverse_codi.tasks.base import Split
from reverse_codi.tasks.words import word_tokenizer
from reverse_codi.verbalize.config import VerbalizerConfig
from reverse_codi.verbalize.policy import Policy


@dataclass(frozen=True)
class LargeShape:
    """A model's sizes.

    Attributes:
        layers: what its configuration says of the layers.
        vocabulary: number of words.
        dtype: of its weights.
    """

    layers: Mapping[str, int]
    vocabulary: int
    dtype: torch.dtype


SHAPES = {
    "135m": LargeShape(  # SmolLM2-135M (arXiv 2502.02737), as its configuration says
        {
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "max_position_embeddings": 8192,
        },
        49_152,
        torch.float32,
    ),
    "1b": LargeShape(  # Llama-3.2-1B, likewise
        {
            "hidden_size": 2048,
            "intermediate_size": 8192,
            "num_hidden_layers": 16,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "max_position_embeddings": 8192,
        },
        128_256,
        torch.bfloat16,
    ),
}
THOUGHTS = 6


def make_large(
    folder: Path, section: VerbalizerSection, shape: LargeShape, device: str
) -> tuple[CodiReasoner, Policy]:
    """Write the reasoner into a folder; returns it with an untrained verbalizer whose LoRA is not 0."""
    torch.manual_seed(0)
    tokenizer = _tokenizer(shape.vocabulary)
    lm = new_language_model(tokenizer, **shape.layers)
    width, (bot, eot) = shape.layers["hidden_size"], _latent(tokenizer)
    model = LatentLM(lm, projection(width, width), THOUGHTS, bot, eot).to(shape.dtype)
    model.requires_grad_(False)
    config = CodiConfig(THOUGHTS, width, bot, eot, max_answer_tokens=8)
    CodiReasoner(model, tokenizer, config).save_pretrained(folder)
    reasoner = CodiReasoner.from_pretrained(folder, device=device)
    verbalizer_config = VerbalizerConfig(
        n_vocab=lm.get_input_embeddings().num_embeddings,
        reasoner_hash=reasoner.content_hash,
        tokenizer_hash=reasoner.tokenizer_hash,
        read_spec=ReadSpec().model_dump(mode="json"),
    )
    policy = Policy.new(reasoner, section, verbalizer_config)
    with torch.no_grad():
        for name, weight in policy.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.01)
    return reasoner, policy


def _tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """The task's words, filled up with others."""
    words = list(Arithmetic().vocabulary())
    return word_tokenizer([*words, *(f"word{i}" for i in range(vocabulary - len(words)))])


def _latent(tokenizer: PreTrainedTokenizerFast) -> tuple[int, int]:
    """Bot and eot, as CODI lays them out: behind the vocabulary and pad."""
    return len(tokenizer) + 1, len(tokenizer) + 2


def make_maps(reasoner: CodiReasoner, n: int = 64) -> ThoughtMetric:
    """Maps for every thought from the claims of `n` problems: of their true size, good for nothing else."""
    problems = Arithmetic().problems(Split.TRAIN, n, seed=0)
    chains = reasoner.think([problem.question for problem in problems])
    reader = Reader(reasoner, ReadSpec())
    features = reader.features([problem.claims[-1] for problem in problems])
    sites = [Site("h", k) for k in range(reasoner.n_thoughts)]
    return ThoughtMetric(
        reader, {site: AffineMap.fit(features, chains.at(site), reader.spec.ridge) for site in sites}
    )
