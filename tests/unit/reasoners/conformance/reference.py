"""A second implementation of every layout, from the published tensors: one question, loops, no cache.

LoRA stays unmerged: x W + (x A) B * scale. Shapes: T positions, d width, H heads, e = d / H.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import GPT2Config

from tests.unit.reasoners.conformance.layouts import Case


@dataclass
class Chain:
    """One question's latent chain and what came after it."""

    hidden_states: Tensor  # [K + 1, d]
    latent_inputs: Tensor  # [K, d]
    answer: list[int]
    embeds: Tensor  # [T, d], question to last thought


class Reference:
    """Reads the tensors of a case.

    Args:
        case: the checkpoint.
        scale: of its LoRA.
    """

    def __init__(self, case: Case, scale: float) -> None:
        self.tensors, self.prefix, self.scale = case.tensors, case.prefix, scale
        self.config = case.config
        self.gpt2 = isinstance(case.config, GPT2Config)
        self.table = self["transformer.wte.weight" if self.gpt2 else "model.embed_tokens.weight"]

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[self.prefix + name].float()

    def linear(self, x: Tensor, name: str) -> Tensor:
        """One linear layer of [T, in], with its LoRA if it has one."""
        lora = f"{self.prefix}{name}.lora_A.default.weight" in self.tensors
        base = f"{name}.base_layer" if lora else name
        weight = self[f"{base}.weight"]
        out = x @ (weight if self.gpt2 else weight.T)
        if f"{self.prefix}{base}.bias" in self.tensors:
            out = out + self[f"{base}.bias"]
        if lora:
            down, up = self[f"{name}.lora_A.default.weight"], self[f"{name}.lora_B.default.weight"]
            out = out + self.scale * ((x @ down.T) @ up.T)
        return out

    def attention(self, q: Tensor, k: Tensor, v: Tensor, heads: int, groups: int) -> Tensor:
        """Causal attention of [T, d] queries, one head after the other."""
        size, out = q.shape[1] // heads, []
        future = torch.ones(len(q), len(q)).triu(1).bool()
        for head in range(heads):
            mine = slice(head * size, (head + 1) * size)
            theirs = slice(head // groups * size, (head // groups + 1) * size)
            weights = (q[:, mine] @ k[:, theirs].T / math.sqrt(size)).masked_fill(future, -torch.inf)
            out.append(weights.softmax(1) @ v[:, theirs])
        return torch.cat(out, 1)

    def layers(self, embeds: Tensor) -> Tensor:
        """Embeddings [T, d] to the states after every layer [L + 1, T, d]."""
        return self._gpt2(embeds) if self.gpt2 else self._llama(embeds)

    def _gpt2(self, embeds: Tensor) -> Tensor:
        d = embeds.shape[1]

        def norm(x: Tensor, name: str) -> Tensor:
            return F.layer_norm(x, (d,), self[f"{name}.weight"], self[f"{name}.bias"], 1e-5)

        x = embeds + self["transformer.wpe.weight"][: len(embeds)]
        states = [x]
        for i in range(self.config.n_layer):
            at = f"transformer.h.{i}"
            q, k, v = self.linear(norm(x, f"{at}.ln_1"), f"{at}.attn.c_attn").split(d, 1)
            x = x + self.linear(self.attention(q, k, v, self.config.n_head, 1), f"{at}.attn.c_proj")
            hidden = F.gelu(self.linear(norm(x, f"{at}.ln_2"), f"{at}.mlp.c_fc"), approximate="tanh")
            x = x + self.linear(hidden, f"{at}.mlp.c_proj")
            states.append(x)
        return torch.stack([*states[:-1], norm(x, "transformer.ln_f")])

    def _llama(self, embeds: Tensor) -> Tensor:
        config = self.config
        heads, size = config.num_attention_heads, config.hidden_size // config.num_attention_heads
        shared = config.num_key_value_heads
        angles = torch.stack(
            [
                t * config.rope_parameters["rope_theta"] ** (-torch.arange(0, size, 2) / size)
                for t in range(len(embeds))
            ]
        )  # [T, e / 2]

        def norm(x: Tensor, name: str) -> Tensor:
            return (
                x / (x.square().mean(1, keepdim=True) + config.rms_norm_eps).sqrt() * self[f"{name}.weight"]
            )

        def turned(x: Tensor, n: int) -> Tensor:
            parts = []
            for head in x.split(size, 1):
                left, right = head.split(size // 2, 1)
                cos, sin = angles.cos(), angles.sin()
                parts.append(torch.cat([left * cos - right * sin, right * cos + left * sin], 1))
            assert len(parts) == n
            return torch.cat(parts, 1)

        x, states = embeds, [embeds]
        for i in range(config.num_hidden_layers):
            at = f"model.layers.{i}"
            y = norm(x, f"{at}.input_layernorm")
            q = turned(self.linear(y, f"{at}.self_attn.q_proj"), heads)
            k = turned(self.linear(y, f"{at}.self_attn.k_proj"), shared)
            v = self.linear(y, f"{at}.self_attn.v_proj")
            x = x + self.linear(self.attention(q, k, v, heads, heads // shared), f"{at}.self_attn.o_proj")
            y = norm(x, f"{at}.post_attention_layernorm")
            gate = F.silu(self.linear(y, f"{at}.mlp.gate_proj"))
            x = x + self.linear(gate * self.linear(y, f"{at}.mlp.up_proj"), f"{at}.mlp.down_proj")
            states.append(x)
        return torch.stack([*states[:-1], norm(x, "model.norm")])

    def project(self, h: Tensor) -> Tensor:
        """What is fed for a hidden state [d]."""
        if "prj.1.weight" not in self.tensors:
            return h
        prj = {name.removeprefix("prj."): t for name, t in self.tensors.items() if name.startswith("prj.")}
        y = F.gelu(h @ prj["1.weight"].T + prj["1.bias"])
        y = y @ prj["3.weight"].T + prj["3.bias"]
        return (y - y.mean()) / (y.var(unbiased=False) + 1e-5).sqrt() * prj["ln.weight"] + prj["ln.bias"]

    def chain(
        self, ids: list[int], eot: int, n: int, stop: int, longest: int, never: tuple[int, ...] = ()
    ) -> Chain:
        """Think `n` times after `ids`, whose last one is bot, then answer greedily."""
        embeds = self.table[ids]
        hidden_states, latent_inputs = [self.layers(embeds)[-1, -1]], []
        for _ in range(n):
            latent_inputs.append(self.project(hidden_states[-1]))
            embeds = torch.cat([embeds, latent_inputs[-1][None]])
            hidden_states.append(self.layers(embeds)[-1, -1])
        answer: list[int] = []
        for _ in range(longest):
            scores = self.layers(torch.cat([embeds, self.table[[eot, *answer]]]))[-1, -1] @ self.table.T
            scores[list(never)] = -torch.inf
            token = int(scores.argmax())
            if token == stop:
                break
            answer.append(token)
        return Chain(torch.stack(hidden_states), torch.stack(latent_inputs), answer, embeds)
