"""The tensors of a recurrent-depth model, named as in the public checkpoint.

A prelude reads the token embeddings once; the core block then runs as often as asked, each time on its own
last state and the prelude's output; a coda turns the state into what the head reads. Geiping et al. 2025,
arXiv 2502.05171. Shapes: B texts, T new tokens, S tokens so far, d width, H heads.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reverse_codi.reasoners.huginn.config import HuginnConfig


@dataclass
class RecurrentContext:
    """The tokens that later tokens may attend to.

    Attributes:
        mask: [B, S] True where a token is real.
        length: [B] number of real tokens so far, which is the position of the next one.
        past: keys and values, each [B, H, S, d / H], of every run of a block, in order; an iteration attends
            to the same iteration of earlier tokens.
    """

    mask: Tensor
    length: Tensor
    past: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    @classmethod
    def empty(cls, batch: int, device: torch.device) -> RecurrentContext:
        """An empty context."""
        zeros = torch.zeros(batch, dtype=torch.long, device=device)
        return cls(torch.zeros(batch, 0, dtype=torch.bool, device=device), zeros)


@dataclass
class Pass:
    """New tokens on their way through the blocks.

    Attributes:
        context: the earlier tokens, which grow as blocks run; None if no tokens follow.
        visible: [B, 1, T, S + T] True where a new token may look; None for plain causal attention.
        rotation: cosines and sines [2, B, T, 1, d / 2H] of the new positions.
        ran: how many blocks have run.
    """

    context: RecurrentContext | None
    visible: Tensor | None
    rotation: Tensor
    ran: int = 0

    def remember(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [B, H, S + T, d / H] of this block and iteration, the earlier tokens' first."""
        place, self.ran = self.ran, self.ran + 1
        if self.context is None:
            return keys, values
        past = self.context.past
        if place == len(past):
            past.append((keys, values))
        else:
            past[place] = torch.cat([past[place][0], keys], 2), torch.cat([past[place][1], values], 2)
        return past[place]


class RMSNorm(nn.Module):
    """Root mean square norm, taken in float32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Norm of [*, d]."""
        scaled = x.float() * torch.rsqrt(x.float().square().mean(-1, keepdim=True) + self.eps)
        return scaled.to(x.dtype) * self.weight


class Attention(nn.Module):
    """Causal attention with rotary positions; queries and keys have a bias."""

    def __init__(self, config: HuginnConfig) -> None:
        super().__init__()
        self.heads = config.n_heads
        self.Wqkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        if config.qk_bias:
            self.qk_bias = nn.Parameter(torch.zeros(2, 1, config.n_heads, config.head_width))
        self.proj = nn.Linear(config.n_embd, config.n_embd, bias=False)
        self.biased = config.qk_bias

    def forward(self, x: Tensor, tokens: Pass) -> Tensor:
        """Attend from [B, T, d]."""
        q, k, v = self.Wqkv(x).unflatten(-1, (3, self.heads, -1)).unbind(2)  # [B, T, H, d / H] each
        if self.biased:
            q, k = q + self.qk_bias[0], k + self.qk_bias[1]
        q, k = rotate(q, tokens.rotation), rotate(k, tokens.rotation)
        k, v = tokens.remember(k.transpose(1, 2), v.transpose(1, 2))
        causal = tokens.visible is None
        seen = F.scaled_dot_product_attention(q.transpose(1, 2), k, v, tokens.visible, is_causal=causal)
        return self.proj(seen.transpose(1, 2).flatten(2))


class GatedMLP(nn.Module):
    """SiLU-gated; gate and value are the two halves of one matrix."""

    def __init__(self, config: HuginnConfig) -> None:
        super().__init__()
        self.fc = nn.Linear(config.n_embd, 2 * config.intermediate_size, bias=False)
        self.proj = nn.Linear(config.intermediate_size, config.n_embd, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Transform [*, d]."""
        gate, value = self.fc(x).chunk(2, dim=-1)
        return self.proj(F.silu(gate) * value)


class Block(nn.Module):
    """A layer with a norm before and after each of its halves ("sandwich")."""

    def __init__(self, config: HuginnConfig) -> None:
        super().__init__()
        self.norm_1 = RMSNorm(config.n_embd, config.norm_eps)
        self.attn = Attention(config)
        self.norm_2 = RMSNorm(config.n_embd, config.norm_eps)
        self.norm_3 = RMSNorm(config.n_embd, config.norm_eps)
        self.mlp = GatedMLP(config)
        self.norm_4 = RMSNorm(config.n_embd, config.norm_eps)

    def forward(self, x: Tensor, tokens: Pass) -> Tensor:
        """Transform [B, T, d]; the outer norms take the residual sum."""
        x = self.norm_2(self.attn(self.norm_1(x), tokens) + x)
        return self.norm_4(self.mlp(self.norm_3(x)) + x)


class Trunk(nn.Module):
    """All layers except the head; names are the public ones."""

    def __init__(self, config: HuginnConfig) -> None:
        super().__init__()
        d = config.n_embd
        self.wte = nn.Embedding(config.vocab_size, d)
        self.prelude = nn.ModuleList(Block(config) for _ in range(config.n_layers_in_prelude))
        self.adapter = nn.Linear(2 * d, d, bias=config.bias)
        self.core_block = nn.ModuleList(Block(config) for _ in range(config.n_layers_in_recurrent_block))
        self.coda = nn.ModuleList(Block(config) for _ in range(config.n_layers_in_coda))
        self.ln_f = RMSNorm(d, config.norm_eps)


class HuginnModel(nn.Module):
    """A recurrent-depth language model; a tied head has no tensor of its own.

    Args:
        config: its shape.
    """

    def __init__(self, config: HuginnConfig) -> None:
        super().__init__()
        self.config = config
        self.transformer = Trunk(config)
        if not config.tie_embeddings:
            self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)

    @property
    def table(self) -> Tensor:
        """Token embeddings [V, d]."""
        return self.transformer.wte.weight

    def enter(self, mask: Tensor, context: RecurrentContext | None = None) -> Pass:
        """Begin a pass of new tokens, mask [B, T], padded on the right; `context` grows by them."""
        positions = mask.cumsum(1) - 1
        visible = None
        if context is not None:
            positions = positions + context.length[:, None]
            if context.mask.shape[1]:
                causal = torch.ones(2 * mask.shape[1:], dtype=torch.bool, device=mask.device).tril()
                before = context.mask[:, None, None].expand(-1, 1, mask.shape[1], -1)
                visible = torch.cat([before, (mask[:, None] & causal)[:, None]], -1)
            context.mask = torch.cat([context.mask, mask], 1)
            context.length = context.length + mask.sum(1)
        return Pass(context, visible, rotation(positions.clamp(min=0), self.config))

    def embed(self, ids: Tensor, tokens: Pass) -> Tensor:
        """The prelude's output [B, T, d] of token ids [B, T], the same for every iteration."""
        x: Tensor = self.transformer.wte(ids) * self.config.embed_scale
        for block in self.transformer.prelude:
            x = block(x, tokens)
        return x

    def iterate(self, states: Tensor, embedded: Tensor, tokens: Pass) -> Tensor:
        """Run the core block once on states [B, T, d] with the prelude's output [B, T, d]."""
        x: Tensor = self.transformer.adapter(torch.cat([states, embedded], -1))
        for block in self.transformer.core_block:
            x = block(x, tokens)
        return x

    def norm(self, states: Tensor) -> Tensor:
        """States [*, d] as the coda sees them."""
        normed: Tensor = self.transformer.ln_f(states)
        return normed

    def finish(self, states: Tensor, tokens: Pass) -> Tensor:
        """The coda's output [B, T, d], which the head reads, of states [B, T, d]."""
        x = self.norm(states)
        for block in self.transformer.coda:
            x = block(x, tokens)
        return self.norm(x)

    def logits(self, finished: Tensor) -> Tensor:
        """Next-token logits [*, V], in float32."""
        head = self.table if self.config.tie_embeddings else self.lm_head.weight
        return F.linear(finished, head).float()


def rotation(positions: Tensor, config: HuginnConfig) -> Tensor:
    """Cosines and sines [2, B, T, 1, d / 2H] of positions [B, T], in float32."""
    width = config.head_width
    steps = torch.arange(0, width, 2, dtype=torch.float32, device=positions.device) / width
    angles = positions[..., None].float() * (1.0 / config.rope_base**steps)
    return torch.stack([angles.cos(), angles.sin()])[:, :, :, None]


def rotate(x: Tensor, cosines_sines: Tensor) -> Tensor:
    """Turn neighbouring pairs of the last axis of [B, T, H, d / H] by their position's angles."""
    cos, sin = cosines_sines
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack([even * cos - odd * sin, odd * cos + even * sin], -1)
    return turned.flatten(-2).to(x.dtype)
