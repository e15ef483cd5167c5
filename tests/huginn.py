"""A small untrained recurrent-depth model with every key of the public layout, and its straight loops."""

from __future__ import annotations

import cmath
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from reverse_codi.reasoners.huginn.config import HuginnConfig
from reverse_codi.reasoners.huginn.model import HuginnModel
from reverse_codi.reasoners.huginn.reasoner import HuginnReasoner
from reverse_codi.tasks.arithmetic import Arithmetic
from reverse_codi.tasks.words import word_tokenizer

BOS = "<bos>"


def make_tiny_huginn(seed: int = 0, batch_size: int = 16, **shape: object) -> HuginnReasoner:
    """2 + 4 + 2 layers of width 40 with 5 heads; every tensor random, so that each one shows."""
    tokenizer = word_tokenizer([BOS, *Arithmetic().vocabulary()])
    config = HuginnConfig.of(
        {
            "n_embd": 40,
            "n_heads": 5,
            "intermediate_size": 48,
            "vocab_size": len(tokenizer) + 2,
            "block_size": 64,
            "mean_recurrence": 4,
            "bos_token_id": tokenizer.convert_tokens_to_ids(BOS),
            "eos_token_id": tokenizer.eos_token_id,
            **shape,
        },
        Path("the test"),
    )
    generator = torch.Generator().manual_seed(seed)
    model = HuginnModel(config)
    for name, weight in model.named_parameters():
        if "norm" in name or "ln_f" in name:
            values = 0.5 + torch.rand(weight.shape, generator=generator)
        else:
            values = torch.randn(weight.shape, generator=generator) * weight.shape[-1] ** -0.5
        weight.data.copy_(values)
    return HuginnReasoner(model, tokenizer, batch_size)


def numbers_only(reasoner: HuginnReasoner) -> HuginnReasoner:
    """Let it write numbers alone, so that what it writes is tokenized as it was written."""
    numbers = {i for word, i in reasoner.tokenizer.get_vocab().items() if word.isdigit()}
    for i, row in enumerate(reasoner.model.table):
        row *= 1.0 if i in numbers else 0.05
    return reasoner


def looped(
    tensors: Mapping[str, Tensor], config: HuginnConfig, ids: list[int], initial: Tensor, iterations: int
) -> tuple[list[Tensor], Tensor]:
    """The model once more: one token and one head at a time, from named tensors alone, in double precision.

    Returns the states [T, d] after 0, 1, ... iterations, and the logits [T, V] after the last.
    """
    w = {name: tensor.double() for name, tensor in tensors.items()}

    def rms(x: Tensor, name: str) -> Tensor:
        return x / math.sqrt(float((x * x).sum()) / len(x) + config.norm_eps) * w[f"{name}.weight"]

    def turned(vector: Tensor, position: int) -> Tensor:
        width, out = len(vector), []
        for i in range(0, width, 2):
            angle = position / config.rope_base ** (i / width)
            number = complex(float(vector[i]), float(vector[i + 1])) * cmath.exp(1j * angle)
            out += [number.real, number.imag]
        return torch.tensor(out, dtype=torch.float64)

    def attend(inputs: list[Tensor], name: str) -> list[Tensor]:
        d, size = config.n_embd, config.n_embd // config.n_heads
        outputs = [torch.zeros(d, dtype=torch.float64) for _ in inputs]
        for head in range(config.n_heads):
            part = slice(head * size, (head + 1) * size)
            queries, keys, values = [], [], []
            for position, x in enumerate(inputs):
                qkv = w[f"{name}.Wqkv.weight"] @ x
                bias = w[f"{name}.qk_bias"][:, 0, head]
                queries.append(turned(qkv[:d][part] + bias[0], position))
                keys.append(turned(qkv[d : 2 * d][part] + bias[1], position))
                values.append(qkv[2 * d :][part])
            for position, query in enumerate(queries):
                scores = [math.exp(float(query @ key) / math.sqrt(size)) for key in keys[: position + 1]]
                for score, value in zip(scores, values, strict=False):
                    outputs[position][part] += score / sum(scores) * value
        return [w[f"{name}.proj.weight"] @ output for output in outputs]

    def block(inputs: list[Tensor], name: str) -> list[Tensor]:
        attended = attend([rms(x, f"{name}.norm_1") for x in inputs], f"{name}.attn")
        outputs = []
        for x, seen in zip(inputs, attended, strict=True):
            middle = rms(seen + x, f"{name}.norm_2")
            both = w[f"{name}.mlp.fc.weight"] @ rms(middle, f"{name}.norm_3")
            gate, value = both[: config.intermediate_size], both[config.intermediate_size :]
            gated = gate / (1 + (-gate).exp()) * value
            outputs.append(rms(w[f"{name}.mlp.proj.weight"] @ gated + middle, f"{name}.norm_4"))
        return outputs

    embedded = [w["transformer.wte.weight"][i] * config.embed_scale for i in ids]
    for layer in range(config.n_layers_in_prelude):
        embedded = block(embedded, f"transformer.prelude.{layer}")
    states = [initial.double()]
    for _ in range(iterations):
        joined = [torch.cat([s, e]) for s, e in zip(states[-1], embedded, strict=True)]
        inner = [w["transformer.adapter.weight"] @ x for x in joined]
        for layer in range(config.n_layers_in_recurrent_block):
            inner = block(inner, f"transformer.core_block.{layer}")
        states.append(torch.stack(inner))
    outer = [rms(s, "transformer.ln_f") for s in states[-1]]
    for layer in range(config.n_layers_in_coda):
        outer = block(outer, f"transformer.coda.{layer}")
    finished = torch.stack([rms(x, "transformer.ln_f") for x in outer])
    return states, finished @ w.get("lm_head.weight", w["transformer.wte.weight"]).T
