"""The shape of a recurrent-depth model, read from the public config.json (arXiv 2502.05171)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from reverse_codi.reasoners.checkpoints.errors import CheckpointError
from reverse_codi.storage.json_files import read_object

CONFIG_FILE = "config.json"
MODEL_TYPE = "huginn_raven"

# What this code computes. A config.json with other values belongs to another model, which might still load.
_BUILT = {
    "block_class_name": "SandwichBlock",
    "mlp_class_name": "GatedMLP",
    "nonlin_name": "SiLU",
    "injection_type": "linear",
    "state_init": "like-init",
    "test_time_noise": 0,
}
_REQUIRED = ("n_embd", "n_heads", "intermediate_size", "vocab_size")
# Hugging Face's names of the same keys, as the public configuration maps them.
_ALIASES = {"num_attention_heads": "n_heads", "hidden_size": "n_embd"}


@dataclass(frozen=True)
class HuginnConfig:
    """Shape and constants; the defaults are those of `tomg-group-umd/huginn-0125`.

    Attributes:
        n_embd: width d.
        n_heads: attention heads; keys and values have as many.
        intermediate_size: width of the gated MLPs.
        vocab_size: rows of the embedding table, padding included.
        n_layers_in_prelude: blocks that read the embeddings, once.
        n_layers_in_recurrent_block: blocks that run once an iteration.
        n_layers_in_coda: blocks between the last state and the head.
        mean_recurrence: iterations in training, on average; the default at inference.
        block_size: longest text, in tokens.
        rope_base: of the rotary positions.
        norm_eps: of every RMSNorm.
        qk_bias: queries and keys have a bias.
        bias: the adapter has a bias.
        tie_embeddings: the head is the embedding table.
        state_std: scale of the initial state before `embed_scale`; truncated at three times this.
        embed_scale: factor of token embeddings and initial states.
        bos_token_id: stands before every text.
        eos_token_ids: any of them ends an answer.
    """

    n_embd: int = 5280
    n_heads: int = 55
    intermediate_size: int = 17920
    vocab_size: int = 65536
    n_layers_in_prelude: int = 2
    n_layers_in_recurrent_block: int = 4
    n_layers_in_coda: int = 2
    mean_recurrence: int = 32
    block_size: int = 4096
    rope_base: float = 50_000
    norm_eps: float = 1e-6
    qk_bias: bool = True
    bias: bool = False
    tie_embeddings: bool = True
    state_std: float = math.sqrt(2 / (5 * 5280))
    embed_scale: float = math.sqrt(5280)
    bos_token_id: int | None = 65504
    eos_token_ids: tuple[int, ...] = (65505, 65508)

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return self.n_embd // self.n_heads

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a public config.json.

        Raises:
            FileNotFoundError: there is none.
            CheckpointError: a key is missing, or has a value that this code does not support.
        """
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: {path.parent} holds no recurrent-depth model")
        return cls.of(read_object(path), path)

    @classmethod
    def of(cls, values: Mapping[str, Any], source: Path) -> Self:
        """Take the fields from the values of a config.json; see `read`."""
        values = _plain(values, source)
        if missing := [key for key in _REQUIRED if key not in values]:
            raise CheckpointError(f"{source}: {', '.join(missing)} missing; is this a Huginn config.json?")
        built = _BUILT | {"num_key_value_heads": values["n_heads"]}
        for key, value in built.items():
            if key in values and values[key] != value:
                raise CheckpointError(f"{source}: {key} is {values[key]!r}; only {value!r} is built here")
        if values["n_embd"] % (2 * values["n_heads"]):
            raise CheckpointError(
                f"{source}: n_embd {values['n_embd']} is no even multiple of n_heads {values['n_heads']}"
            )
        constants = values.get("init_values", {})
        width, eos = values["n_embd"], values.get("eos_token_id")
        eos_ids = eos if isinstance(eos, list) else [] if eos is None else [eos]
        same = cls.__dataclass_fields__.keys() & values.keys()
        given: dict[str, Any] = {key: values[key] for key in same} | {
            "vocab_size": values.get("padded_vocab_size", values["vocab_size"]),
            # The formulas of the initialisation (Takase et al. 2023), whose values the file repeats.
            "state_std": constants.get("std", math.sqrt(2 / (5 * width))),
            "embed_scale": constants.get("embed_scale", math.sqrt(width)),
            "bos_token_id": values.get("bos_token_id"),
            "eos_token_ids": tuple(eos_ids),
        }
        return cls(**given)

    def values(self) -> dict[str, Any]:
        """What `of` reads: the keys of the public config.json."""
        values = asdict(self)
        std, scale = values.pop("state_std"), values.pop("embed_scale")
        eos = list(values.pop("eos_token_ids"))
        layers = self.n_layers_in_prelude + self.n_layers_in_recurrent_block + self.n_layers_in_coda
        return values | {
            "model_type": MODEL_TYPE,
            "architectures": ["RavenForCausalLM"],
            "num_key_value_heads": self.n_heads,
            "n_layers": layers,
            "padded_vocab_size": self.vocab_size,
            "init_values": {"std": std, "embed_scale": scale},
            "eos_token_id": eos,
            **_BUILT,
        }


def _plain(values: Mapping[str, Any], source: Path) -> dict[str, Any]:
    """The values under the names that the model itself uses."""
    plain = {key: value for key, value in values.items() if key not in _ALIASES}
    for alias, name in _ALIASES.items():
        if alias not in values:
            continue
        if name in plain and plain[name] != values[alias]:
            raise CheckpointError(
                f"{source}: {name} is {plain[name]!r} and {alias} {values[alias]!r}, which mean the same; "
                "correct one"
            )
        plain[name] = values[alias]
    return plain
