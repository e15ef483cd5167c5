"""The verbalizer: the reasoner's own language model with a LoRA, with the configuration of its prompts.

Verbalizer and reasoner share the language model's weights, which are in memory once. The LoRA stands beside
them, and the reasoner has modules of its own without it: it is the verbalizer with its adapter switched off.

A verbalizer's folder holds the PEFT adapter, `verbalizer.json` (configuration), `maps.safetensors`
(how its texts are read), `encoded_steps.json` (which claims taught which site), `reference_texts.json` (what
it says of other thoughts) and `recipe.yaml` (what it was trained by).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reverse_codi.errors import blamed_on
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sharing import sharing_weights
from reverse_codi.recipe.verbalizer import VerbalizerSection
from reverse_codi.rollout.adapter_config import adapter_config
from reverse_codi.storage.cards import write_card
from reverse_codi.storage.folders import whole_files
from reverse_codi.storage.manifest import check_files, write_manifest
from reverse_codi.trainers.checkpoints import ADAPTER_CONFIG, POLICY_WEIGHTS
from reverse_codi.utils.finite import non_finite
from reverse_codi.verbalize.config import FILE as VERBALIZER_FILE
from reverse_codi.verbalize.config import VerbalizerConfig, VerbalizerConfigError
from reverse_codi.verbalize.embedding import LatentEmbedding
from reverse_codi.verbalize.publishing.adapter_card import adapter_card

RESTORE = "restore the folder from a copy, or train it anew"
POLICY_FILES = (ADAPTER_CONFIG, POLICY_WEIGHTS, VERBALIZER_FILE)
"""What a policy is loaded from; its folder's manifest lists them."""


@dataclass
class Policy:
    """A verbalizer in memory.

    Attributes:
        model: language model with its LoRA; input embedding replaced by `embedding`.
        embedding: ids from `verbalizer_config.n_vocab` on index its bank of vectors.
        verbalizer_config: builds prompts.
        tokenizer: the reasoner's.
    """

    model: PeftModel
    embedding: LatentEmbedding
    verbalizer_config: VerbalizerConfig
    tokenizer: PreTrainedTokenizerBase

    @classmethod
    def new(
        cls,
        reasoner: CodiReasoner,
        section: VerbalizerSection,
        verbalizer_config: VerbalizerConfig,
        seed: int = 0,
    ) -> Self:
        """A fresh LoRA over the reasoner's weights; the reasoner stays as it is.

        The LoRA is in float32 whatever the type of the weights: a step of training is too small for bfloat16.
        """
        torch.manual_seed(seed)
        base = sharing_weights(reasoner.lm)
        lora = LoraConfig(
            r=section.rank,
            lora_alpha=section.alpha,
            target_modules=section.target_modules,
            task_type="CAUSAL_LM",
        )
        model = get_peft_model(base, lora, autocast_adapter_dtype=True)
        assert isinstance(model, PeftModel)
        _as_ours(model, verbalizer_config)
        return cls(model, LatentEmbedding.install(model), verbalizer_config, reasoner.tokenizer)

    @classmethod
    def load(cls, folder: str | Path, reasoner: CodiReasoner, trainable: bool = False) -> Self:
        """Load an adapter, in float32, with its configuration; the reasoner stays as it is.

        Raises:
            VerbalizerConfigError: of another reasoner (both hashes are named), or with weights that are not
                finite.
            DamagedError: a file is missing, cut, or not what was written.
        """
        check_files(folder, POLICY_FILES, RESTORE)
        verbalizer_config = VerbalizerConfig.load(
            folder, reasoner_hash=reasoner.content_hash, tokenizer_hash=reasoner.tokenizer_hash
        )
        rows = reasoner.lm.get_input_embeddings().num_embeddings
        if verbalizer_config.n_vocab != rows:  # the ids of thoughts begin there
            raise VerbalizerConfigError(
                f"{folder}: n_vocab is {verbalizer_config.n_vocab}, the reasoner has {rows} ids; "
                "fetch the verbalizer again"
            )
        base = sharing_weights(reasoner.lm)
        model = _loaded(base, Path(folder), trainable)
        if (name := non_finite((n, w) for n, w in model.named_parameters() if "lora_" in n)) is not None:
            raise VerbalizerConfigError(f"{folder}: {name} holds values that are not finite; train it anew")
        _as_ours(model, verbalizer_config)
        return cls(model, LatentEmbedding.install(model), verbalizer_config, reasoner.tokenizer)

    def save(self, folder: str | Path) -> None:
        """Write adapter, configuration and manifest; a folder with a configuration has its adapter.

        Raises:
            DiskError: the disk refused a file.
        """
        with whole_files(folder) as temporary:
            self.model.save_pretrained(str(temporary), selected_adapters=["default"])
        self.verbalizer_config.save(folder)
        write_manifest(Path(folder), POLICY_FILES)

    def prompts(self, rows: list[list[int]]) -> list[list[int]]:
        """Prompt ids for lists of bank rows."""
        return [self.verbalizer_config.build_prompt(self.tokenizer, bank) for bank in rows]

    def prompt_embeds(self, vectors: Tensor) -> list[Tensor]:
        """Prompt embeddings, each [T, d], for slot vectors [N, S, d]; built by the embedding itself.

        The embedding keeps none of the vectors: the bank that is in use stays in use.
        """
        n, slots, _ = vectors.shape
        prompts = self.prompts([list(range(i * slots, (i + 1) * slots)) for i in range(n)])
        with self.embedding.bank(vectors.flatten(0, 1)):
            return list(self.embedding.of(prompts))


def _loaded(base: PreTrainedModel, folder: Path, trainable: bool) -> PeftModel:
    """The base with the adapter of a folder, in float32.

    Raises:
        AdapterError: see `adapter_config`.
        VerbalizerConfigError: the weights are cut, or no adapter's.
    """
    adapter_config(folder)
    what = "is cut or damaged, or no adapter of this model"
    with blamed_on(folder / POLICY_WEIGHTS, VerbalizerConfigError, RESTORE, what):
        return PeftModel.from_pretrained(
            base, str(folder), is_trainable=trainable, autocast_adapter_dtype=True
        )


def _as_ours(model: PeftModel, verbalizer_config: VerbalizerConfig) -> None:
    """Let whoever saves the model, a Trainer's checkpoint too, write our card, and ask the hub nothing.

    `PeftModel.save_pretrained` calls the first of these methods with the folder, and has no argument to leave
    PEFT's blank card out. By itself it looks for the base's configuration, also on the hub where
    `adapter_config.json` names a model there, to see whether the embedding was resized: ours never is.
    """
    card = adapter_card(verbalizer_config)
    model.create_or_update_model_card = (  # type: ignore[method-assign]
        lambda output_dir: write_card(output_dir, card)
    )
    model.save_pretrained = functools.partial(  # type: ignore[method-assign]
        model.save_pretrained, save_embedding_layers=False
    )
