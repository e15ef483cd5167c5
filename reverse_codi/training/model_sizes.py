"""What a reasoner's language model weighs, from its configuration alone: it is built without its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import try_to_load_from_cache
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import CONFIG_MAPPING, PretrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from reverse_codi.errors import RecipeError
from reverse_codi.reasoners.checkpoints.accounting import skeleton
from reverse_codi.reasoners.checkpoints.hugging_face import read_config
from reverse_codi.reasoners.checkpoints.known import known
from reverse_codi.reasoners.checkpoints.own import own_config
from reverse_codi.reasoners.checkpoints.source import ASSETS
from reverse_codi.reasoners.codi_config import CONFIG_FILE
from reverse_codi.recipe.reasoner import EMBEDDED, Source
from reverse_codi.recipe.schema import Recipe
from reverse_codi.recipe.verbalizer import VerbalizerSection
from reverse_codi.storage.json_files import read_object

# Ids that CODI and Coconut add to their base's vocabulary: pad or answer, bot, eot.
ADDED_IDS = 3
# A pass that is long enough for what does not grow with the text to be little.
PROBE_TOKENS = 32


@dataclass(frozen=True, kw_only=True)
class ModelSizes:
    """Counts; bytes where it says so.

    Attributes:
        n_parameters: of the language model, tied ones once.
        n_targeted: of them, those of layers with a LoRA.
        n_lora: parameters of the LoRA.
        n_layers: L.
        width: d.
        inner: the width inside a block's feed-forward part.
        kv_width: of keys, and of values, in one layer.
        n_vocab: V.
        n_thoughts: K.
        itemsize: bytes of a weight as the reasoner holds it.
        tied: whether head and embedding are one.
        kept: bytes a token that a forward pass keeps for its backward pass, weights and logits not counted.
        takes_lora: whether vLLM applies a LoRA beside the weights of this architecture.
    """

    n_parameters: int
    n_targeted: int
    n_lora: int
    n_layers: int
    width: int
    inner: int
    kv_width: int
    n_vocab: int
    n_thoughts: int
    itemsize: int
    tied: bool
    kept: int
    takes_lora: bool

    @classmethod
    def of(cls, recipe: Recipe, source: Source | None = None) -> ModelSizes | None:
        """Of a recipe's reasoner; None where neither it nor its base's configuration is on this machine.

        Args:
            recipe: gives the LoRA.
            source: the reasoner, where it is not the recipe's own section.

        Raises:
            RecipeError: the model has no layer of the names in `verbalizer.target_modules`.
        """
        found = configuration(source or recipe.reasoner)
        return None if found is None else cls.of_config(*found, recipe.verbalizer)

    @classmethod
    def of_config(cls, config: PretrainedConfig, n_thoughts: int, lora: VerbalizerSection) -> ModelSizes:
        """Of a language model's configuration.

        Raises:
            RecipeError: see `of`.
        """
        model = skeleton(config)
        check_targets(model, lora.target_modules)
        n_parameters = sum(weight.numel() for weight in model.parameters())
        shape = LoraConfig(
            r=lora.rank, target_modules=lora.target_modules, task_type="CAUSAL_LM",
            fan_in_fan_out=config.model_type == "gpt2",
        )  # fmt: skip
        with torch.device("meta"):
            adapted = get_peft_model(model, shape)
        layers = [module for module in adapted.modules() if isinstance(module, LoraLayer)]
        heads = config.num_attention_heads
        head_width = getattr(config, "head_dim", None) or config.hidden_size // heads
        return cls(
            n_parameters=n_parameters,
            n_targeted=sum(weight.numel() for la in layers for weight in la.get_base_layer().parameters()),
            n_lora=sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad),
            n_layers=config.num_hidden_layers,
            width=config.hidden_size,
            inner=_inner(config),
            kv_width=head_width * (getattr(config, "num_key_value_heads", None) or heads),
            n_vocab=config.vocab_size,
            n_thoughts=n_thoughts,
            itemsize=(config.dtype if isinstance(config.dtype, torch.dtype) else torch.float32).itemsize,
            tied=bool(config.tie_word_embeddings),
            kept=_kept(adapted),
            takes_lora=config.model_type != "gpt2",
        )

    @property
    def weights(self) -> int:
        """Bytes of the language model, as the reasoner holds it."""
        return self.n_parameters * self.itemsize

    def kv(self, tokens: int, itemsize: int | None = None) -> int:
        """Bytes of the keys and values of so many tokens."""
        return 2 * tokens * self.n_layers * self.kv_width * (itemsize or self.itemsize)

    def passing(self, tokens: int) -> int:
        """Bytes that one layer holds for a moment while so many tokens pass through it."""
        return tokens * (8 * self.width + 3 * self.inner) * self.itemsize

    def logits(self, tokens: int) -> int:
        """Bytes of the float32 logits of so many tokens."""
        return 4 * tokens * self.n_vocab


def configuration(source: Source) -> tuple[PretrainedConfig, int] | None:
    """The language model's configuration and K, of what is on this machine; None where nothing is."""
    folder = ASSETS / "reasoner" if source.path == EMBEDDED else Path(source.path)
    facts = known(source.path)
    thoughts = source.n_thoughts or (facts.n_thoughts.value if facts and facts.n_thoughts else 6)
    if (folder / CONFIG_FILE).is_file():
        return read_config(folder), own_config(folder).n_thoughts
    for place in (source.base, source.path):
        file = None if place is None else _config_file(place)
        # Some checkpoints ship an empty one. What transformers does not know, loading refuses by its name.
        if file is not None and file.stat().st_size and read_object(file).get("model_type") in CONFIG_MAPPING:
            config = read_config(file.parent)
            config.vocab_size += ADDED_IDS
            config.dtype = getattr(torch, source.dtype)
            return config, thoughts
    return None


def linear_layers(model: PreTrainedModel) -> frozenset[str]:
    """Names of the layers that a LoRA may target: all linear ones (GPT-2's are `Conv1D`) but the head."""
    head = model.get_output_embeddings()
    found = ((name, module) for name, module in model.named_modules() if module is not head)
    return frozenset(
        name.rpartition(".")[2] for name, module in found if isinstance(module, torch.nn.Linear | Conv1D)
    )


def check_targets(model: PreTrainedModel, targets: Sequence[str]) -> None:
    """Refuse a LoRA on layers that the model lacks.

    Raises:
        RecipeError: names them, and the layers that there are.
    """
    there = linear_layers(model)
    if missing := [target for target in targets if target.rpartition(".")[2] not in there]:
        raise RecipeError(
            f"verbalizer.target_modules names {', '.join(missing)}, which this {model.config.model_type} "
            f"model lacks; its linear layers are [{', '.join(sorted(there))}]"
        )


def _config_file(place: str) -> Path | None:
    """The config.json of a folder, or of a hub id that was fetched before."""
    if Path(place).exists():
        file = Path(place) / "config.json"
        return file if file.is_file() else None
    cached = try_to_load_from_cache(place, "config.json") if place.count("/") == 1 else None
    return Path(cached) if isinstance(cached, str) else None


def _inner(config: PretrainedConfig) -> int:
    inner = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None)
    return int(inner or 4 * config.hidden_size)


def _kept(adapted: torch.nn.Module) -> int:
    """Bytes a token that autograd keeps of one forward pass; counted in a pass without any data.

    Measured against it, the peaks of real passes on a CPU lie 4 to 6 % above (the embedded model, GPT-2).
    """
    own = {weight.untyped_storage()._cdata for weight in adapted.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    ids = torch.zeros(1, PROBE_TOKENS, dtype=torch.long, device="meta")
    mask = torch.zeros(1, 1, PROBE_TOKENS, PROBE_TOKENS, dtype=torch.bool, device="meta")
    adapted.train()
    model = adapted.get_base_model()  # type: ignore[operator]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.base_model(
            inputs_embeds=model.get_input_embeddings()(ids),
            attention_mask=mask,
            position_ids=ids,
            use_cache=False,
        )
    found = [tensor.untyped_storage().nbytes() for key, tensor in kept.items() if key not in own]
    return sum(found) // PROBE_TOKENS
