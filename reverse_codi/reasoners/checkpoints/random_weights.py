"""Random weights in the files of a public checkpoint: its names, keys, shapes, types and token ids.

Memory, time and every shape depend on these and not on what the weights have learnt. So a machine without the
hub can show what a recipe for a public checkpoint costs. What such a model says means nothing.

The files lie as the hub's client keeps them (`models--OWNER--NAME/snapshots/...`), so that they are loaded,
and known, as the real ones are. Texts end after about `ENDERS` tokens: those of untrained models go on to the
limit, and rewards find none to read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import GPT2Config, LlamaConfig, PretrainedConfig
from transformers.pytorch_utils import Conv1D

from reverse_codi.reasoners.checkpoints.accounting import copies, skeleton
from reverse_codi.reasoners.checkpoints.layouts import CODI
from reverse_codi.reasoners.checkpoints.prompting import ADDED, BOT, EOT
from reverse_codi.reasoners.checkpoints.random_tokenizers import LEARNT, gpt2_tokenizer, llama_tokenizer
from reverse_codi.reasoners.latent_lm import projection
from reverse_codi.storage.files import strict_json, whole_file, write_whole

INIT = 0.02
"""Standard deviation of weights, GPT-2's."""
WRITE = 0.16
"""Standard deviation of a block's output layers, times sqrt(2 L). With GPT-2's 0.02 the embedding outweighs
all that blocks add, and a tied head then repeats the last token for ever."""
SPREAD = 2.8
"""Standard deviation of the logits, which decides the embedding's."""
ENDERS = 12
"""One in so many tokens is followed by the end of the text, whether it was sampled or chosen greedily."""
LORA_B = 0.1
"""Standard deviation of lora_B, which PEFT begins at 0. The merged update is about a third of the weight."""
RANK = 128
# Coordinate 0 says that a text ends. Enders carry 1 there, the end token `MARK`, all others 0; no layer
# writes to it, and the last norm multiplies it by `LOUD`. After an ender the end token's logit is 65 (GPT-2)
# or 27 (Llama) above the others, which spread by `SPREAD`.
MARK, LOUD = 10.0, 15.0


@dataclass(frozen=True)
class PublicLayout:
    """What the files of a public checkpoint and of its base hold.

    Attributes:
        checkpoint: its hub id.
        base: hub id of the base model, which gives configuration and tokenizer.
        config: configuration of the base.
        base_tokenizer: writes the base's tokenizer files into a folder, made from texts.
        own_tokenizer: writes those that lie beside the checkpoint; None where it has none.
        targets: names of the layers with a LoRA.
        projection: hidden width of `prj`.
        head: whether the tied head is stored too.
    """

    checkpoint: str
    base: str
    config: Callable[[], PretrainedConfig]
    base_tokenizer: Callable[[Path, Sequence[str]], None]
    own_tokenizer: Callable[[Path, Sequence[str]], None] | None
    targets: tuple[str, ...]
    projection: int
    head: bool


def _llama_1b() -> PretrainedConfig:
    return LlamaConfig(
        vocab_size=128_256,
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=64,
        max_position_embeddings=131_072,
        rms_norm_eps=1e-5,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 500_000.0,
            "factor": 32.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
        bos_token_id=128_000,
        eos_token_id=128_009,
        pad_token_id=128_004,
        tie_word_embeddings=True,
        dtype="bfloat16",
    )


PUBLIC: Mapping[str, PublicLayout] = {
    layout.checkpoint: layout
    for layout in (
        PublicLayout(
            "zen-E/CODI-gpt2",
            "openai-community/gpt2",
            GPT2Config,
            gpt2_tokenizer,
            None,
            ("c_attn", "c_proj", "c_fc"),
            768,
            head=True,
        ),
        PublicLayout(
            "bcywinski/codi_llama1b-answer_only",
            "unsloth/Llama-3.2-1B-Instruct",
            _llama_1b,
            llama_tokenizer,
            lambda folder, texts: llama_tokenizer(folder, texts, ("[PAD]", BOT, EOT)),
            ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
            2048,
            head=False,
        ),
    )
}
"""Hub id -> its layout."""


@dataclass(frozen=True)
class Written:
    """Folders as a recipe names them.

    Attributes:
        path: for `reasoner.path`.
        base: for `reasoner.base`.
    """

    path: Path
    base: Path


def write_random(
    layout: PublicLayout, hub: Path, texts: Sequence[str], layers: int | None = None, seed: int = 0
) -> Written:
    """Write checkpoint and base into a folder like the hub client's cache; what is there is kept.

    Args:
        layout: of the checkpoint.
        hub: the cache.
        texts: what the tokenizers are made from.
        layers: number of layers; None for the model's own. Width and vocabulary are never reduced.
        seed: of the weights.
    """
    config = layout.config()
    config.num_hidden_layers = layers or config.num_hidden_layers
    name = f"random-seed-{seed}-layers-{config.num_hidden_layers}"
    written = Written(snapshot(hub, layout.checkpoint, name), snapshot(hub, layout.base, name))
    if not (written.base / "config.json").is_file():
        layout.base_tokenizer(written.base, texts)
        write_whole(written.base / "config.json", strict_json(config.to_dict(), indent=2) + "\n")
    if not (written.path / "pytorch_model.bin").is_file():
        if layout.own_tokenizer is not None:
            layout.own_tokenizer(written.path, texts)
        with whole_file(written.path / "pytorch_model.bin") as temporary:
            torch.save(dict(tensors(layout, config, seed)), temporary)
    return written


def snapshot(hub: Path, name: str, revision: str) -> Path:
    """The folder where the hub's client keeps one revision of a repository."""
    return hub / f"models--{name.replace('/', '--')}" / "snapshots" / revision


def tensors(layout: PublicLayout, config: PretrainedConfig, seed: int) -> Iterator[tuple[str, Tensor]]:
    """Keys and tensors of the weight file: the base in bfloat16, LoRA and projection in float32.

    CODI loads its base in bfloat16, PEFT makes adapters in float32, and `prj` is a plain module. With the
    head beside the embedding this gives CODI-gpt2's file its published 406 MB.
    """
    generator = torch.Generator().manual_seed(seed)
    config = type(config).from_dict(config.to_dict())
    eos = int(config.eos_token_id)
    config.vocab_size += ADDED
    model = skeleton(config)
    table = f"{_name(model, model.get_input_embeddings())}.weight"
    plain = {name: tensor for name, tensor in model.state_dict().items() if name not in copies(model)}
    for name, empty in plain.items():
        module, _, kind = name.rpartition(".")
        tensor = _drawn(name, empty, config, name == table, generator)
        _end(tensor, name, name == table, eos)
        has_lora = module.rpartition(".")[2] in layout.targets
        yield f"{CODI.model}{module}{'.base_layer' * has_lora}.{kind}", tensor.bfloat16()
        if name == table and layout.head:
            yield f"{CODI.model}lm_head.weight", tensor.bfloat16()
        if has_lora and kind == "weight":
            turned = isinstance(model.get_submodule(module), Conv1D)
            n_out, n_in = empty.shape[::-1] if turned else empty.shape
            bound = 1 / math.sqrt(n_in)  # PEFT's
            down = torch.empty(RANK, n_in).uniform_(-bound, bound, generator=generator)
            up = torch.empty(n_out, RANK).normal_(0, LORA_B, generator=generator)
            if _writes(name):
                up[0] = 0
            yield f"{CODI.model}{module}.lora_A.default.weight", down
            yield f"{CODI.model}{module}.lora_B.default.weight", up
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        state = projection(config.hidden_size, layout.projection).state_dict()
    state["ln.weight"][0] = 0  # no text ends before it begins
    yield from ((f"{CODI.projection}{name}", tensor) for name, tensor in state.items())


def _name(model: torch.nn.Module, module: torch.nn.Module) -> str:
    return next(name for name, found in model.named_modules() if found is module)


def _writes(name: str) -> bool:
    """Whether a layer's output is added to the residual stream."""
    return any(part in name for part in ("c_proj", "o_proj", "down_proj"))


def _drawn(
    name: str, empty: Tensor, config: PretrainedConfig, is_table: bool, generator: torch.Generator
) -> Tensor:
    """One tensor of the base: norms as they begin, biases 0, weights normal."""
    if empty.dim() == 1:
        return torch.full(empty.shape, 0.0 if name.endswith("bias") else 1.0)
    deviation = SPREAD / math.sqrt(config.hidden_size) if is_table else INIT
    if _writes(name):
        deviation = WRITE / math.sqrt(2 * config.num_hidden_layers)
    return torch.empty(empty.shape).normal_(0, deviation, generator=generator)


def _end(tensor: Tensor, name: str, is_table: bool, eos: int) -> None:
    """Let texts end; see `MARK`."""
    if is_table:
        tensor[:, 0] = 0
        tensor[LEARNT:eos:ENDERS, 0] = 1
        tensor[eos, 0] = MARK
    elif name in ("transformer.ln_f.weight", "model.norm.weight"):
        tensor[0] = LOUD
    elif name == "transformer.wpe.weight":
        tensor[:, 0] = 0
    elif _writes(name) and tensor.dim() == 2:
        (tensor.T if name.startswith("transformer.") else tensor)[0] = 0  # GPT-2 keeps [in, out]
