"""The start of a new projection: a map to the token that the model would write next.

CODI's projection starts at random. In a model this small, the first gradients then destroy what the base
model can do before they find a use for thoughts (docs/embedded.md). Here the projection is fitted first, with
everything else frozen: it turns the base model's final state at a token into the embedding of the next token
of its training text. The first thoughts are then like tokens, and CODI's loss decides what they become.

Shapes: M token positions, d width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reverse_codi.reasoners.distill.data import EncodedProblem, padded
from reverse_codi.reasoners.latent_lm import LatentLM

STEPS, BATCH, LEARNING_RATE = 1_500, 1_024, 2e-3
# Of the softmax over embeddings, in mean squared distances of a latent input to a token's embedding.
TEMPERATURE = 0.05
READ_AT_ONCE = 1_000


@torch.no_grad()
def next_token_pairs(model: LatentLM, rows: Sequence[EncodedProblem], pad: int) -> tuple[Tensor, Tensor]:
    """Final states [M, d] inside solutions in running totals, and the token ids [M] that follow them."""
    states, following = [], []
    for start in range(0, len(rows), READ_AT_ONCE):
        part = rows[start : start + READ_AT_ONCE]
        ids, mask = padded([row.question + row.totals + row.answer for row in part], pad)
        ids, mask = ids.to(model.lm.device), mask.to(model.lm.device)
        read = model.lm.base_model(input_ids=ids, attention_mask=mask).last_hidden_state  # [N, T, d]
        for i, row in enumerate(part):
            # Only the solution: the question's next words cannot be predicted.
            first, last = len(row.question), len(row.question) + len(row.totals)
            states.append(read[i, first:last])
            following.append(ids[i, first + 1 : last + 1])
    return torch.cat(states), torch.cat(following)


@torch.no_grad()
def scale_projection(model: LatentLM) -> None:
    """Scale the projection's output to the root mean square of the embeddings.

    At LayerNorm's unit scale a latent input would outweigh every layer's update.
    """
    table = model.embed(torch.arange(model.lm.config.vocab_size, device=model.lm.device))
    norm = model.prj.get_submodule("ln")
    assert isinstance(norm, nn.LayerNorm)
    nn.init.constant_(norm.weight, float(table.square().mean().sqrt()))


def start_projection(model: LatentLM, rows: Sequence[EncodedProblem], pad: int, seed: int) -> float:
    """Fit the projection to the next token's embedding.

    Args:
        model: after its first phase; only `prj` changes.
        rows: training problems.
        pad: padding token id.
        seed: seed of the batches.

    Returns:
        The share of positions in the last batch whose latent input lies nearest to the right embedding.
    """
    states, following = next_token_pairs(model, rows, pad)
    embedding = model.lm.get_input_embeddings()
    assert isinstance(embedding, nn.Embedding)
    table = embedding.weight.detach()
    norm = model.prj.get_submodule("ln")
    assert isinstance(norm, nn.LayerNorm)
    # At LayerNorm's unit scale a latent input would drown every layer's update.
    scale = float(table[following].square().mean().sqrt())
    nn.init.constant_(norm.weight, scale)
    optimizer = torch.optim.Adam(model.prj.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / STEPS)
    generator = torch.Generator().manual_seed(seed)
    nearest = torch.zeros(1)
    for _ in range(STEPS):
        batch = torch.randint(len(states), (BATCH,), generator=generator)
        latent_inputs = model.prj(states[batch])
        distance = torch.cdist(latent_inputs, table).square() / (scale**2 * model.width)
        nearest = (distance.argmin(-1) == following[batch]).float().mean()
        loss = F.mse_loss(latent_inputs, table[following[batch]]) / scale**2
        loss = loss + F.cross_entropy(-distance / TEMPERATURE, following[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return float(nearest)
