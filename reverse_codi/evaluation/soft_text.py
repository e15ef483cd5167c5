"""`reverse-codi soft-text [embedded|RECIPE|VERBALIZER]`: how near could any text come?

The input vectors of a text are moved by gradient until the frozen model's state, read and mapped as that of
any text, lies as near to the thought as it can (soft prompts: Lester et al. 2021, arXiv 2104.08691). Free
vectors bound what words of that length can reach: match that the gold claim lacks and a soft text has is lost
to words; what a soft text lacks too is lost to the reading.

Shapes: N texts, T tokens, d width, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reverse_codi.evaluation.defaults import DESCENT_STEPS
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.utils.console import progress


@dataclass(frozen=True)
class Descent:
    """How a soft text is looked for.

    Attributes:
        steps: of Adam.
        rate: its learning rate, in units of the standard deviation of the words' embeddings.
    """

    steps: int = DESCENT_STEPS
    rate: float = 0.1


def softened(
    reasoner: CodiReasoner,
    metric: ThoughtMetric,
    thoughts: Tensor,
    sites: Sequence[Site],
    texts: Sequence[str],
    descent: Descent,
) -> Tensor:
    """The best match [N] that each text's vectors reach, begun at the words of `texts`.

    Args:
        reasoner: the frozen model.
        metric: how texts are read.
        thoughts: [N, d] targets.
        sites: site of each thought.
        texts: N texts; their tokens say how many vectors there are, and which count as numbers.
        descent: steps and rate.
    """
    best = torch.full((len(texts),), -torch.inf)
    lengths = [len(reasoner.ids(text)) for text in texts]
    with progress("soft texts", len(texts) * (descent.steps + 1)) as advance:
        for length in sorted(set(lengths)):
            rows = [row for row, n in enumerate(lengths) if n == length]
            targets, at, words = thoughts[rows], [sites[row] for row in rows], [texts[row] for row in rows]
            start = torch.stack([reasoner.embed(text) for text in words])  # [N, T, d]
            soft = start.clone().requires_grad_()
            optimizer = torch.optim.Adam([soft], lr=descent.rate * float(start.std()))
            for step in range(descent.steps + 1):
                match = metric.match(targets, metric.apply(_features(reasoner, metric, soft, words), at), at)
                best[rows] = torch.maximum(best[rows], match.detach())
                if step < descent.steps:
                    (soft.grad,) = torch.autograd.grad(-match.sum(), soft)  # the frozen model collects none
                    optimizer.step()
                advance(len(rows))
    return best


def _features(reasoner: CodiReasoner, metric: ThoughtMetric, soft: Tensor, words: Sequence[str]) -> Tensor:
    """Read states [N, F] of input vectors [N, T, d] that stand where the tokens of `words` would."""
    begin = torch.tensor([list(reasoner.config.begin_ids)] * len(words), dtype=torch.long, device=soft.device)
    inputs = torch.cat([reasoner.model.embed(begin).detach(), soft], 1)
    layers = reasoner.lm.base_model(inputs_embeds=inputs, output_hidden_states=True).hidden_states
    own = torch.stack(layers, 1)[:, :, -soft.shape[1] :].float()  # [N, L + 1, T, d]
    return metric.reader.of_states(list(own), words).cpu()
