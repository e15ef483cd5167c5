"""`reverse-codi soft-text [embedded|RECIPE|VERBALIZER]`: how near could any text come?

The input vectors of a text are moved by gradient until the frozen model's state, read and mapped as that of
any text, lies as near to the thought as it can (soft prompts: Lester et al. 2021, arXiv 2104.08691). Free
vectors bound what words of that length can reach: match that the gold claim lacks and a soft text has is lost
to words; what a soft text lacks too is lost to the reading.

Shapes: N texts, T tokens, d width, F features.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.table import Table
from torch import Tensor

from reverse_codi.evaluation.draw import FIRST_SEED
from reverse_codi.evaluation.evaluate import find
from reverse_codi.reading.claims import EncodedSteps
from reverse_codi.reading.hard_negatives import CONSTANT
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.load import load_reasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.reasoner import EMBEDDED
from reverse_codi.tasks.base import Split
from reverse_codi.traces.collect import TraceRequest, collect
from reverse_codi.training.stage_folders import ENCODED_FILE
from reverse_codi.utils import figures
from reverse_codi.utils.arguments import count, positive
from reverse_codi.utils.config import run_verb
from reverse_codi.utils.console import VerbConsole
from reverse_codi.utils.log import show_log
from reverse_codi.utils.outputs import check_folder
from reverse_codi.verbalize.thoughts import thought_sites, thoughts_of
from reverse_codi.verbalize.translator import Translator


@dataclass(frozen=True)
class Descent:
    """How a soft text is looked for.

    Attributes:
        steps: of Adam.
        rate: its learning rate, in units of the standard deviation of the words' embeddings.
    """

    steps: int = 300
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
    return best


def _features(reasoner: CodiReasoner, metric: ThoughtMetric, soft: Tensor, words: Sequence[str]) -> Tensor:
    """Read states [N, F] of input vectors [N, T, d] that stand where the tokens of `words` would."""
    begin = torch.tensor([list(reasoner.config.begin_ids)] * len(words), dtype=torch.long, device=soft.device)
    inputs = torch.cat([reasoner.model.embed(begin).detach(), soft], 1)
    layers = reasoner.lm.base_model(inputs_embeds=inputs, output_hidden_states=True).hidden_states
    own = torch.stack(layers, 1)[:, :, -soft.shape[1] :].cpu()  # [N, L + 1, T, d]
    chosen = own[:, metric.reader.spec.layer_indices(own.shape[1])]
    taken = [metric.reader.taken(states, text).flatten() for states, text in zip(chosen, words, strict=True)]
    return torch.stack(taken)


def main(arguments: Sequence[str] | None = None) -> None:
    """Match of gold claims, translations and soft texts on the same held-out causally active thoughts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", default=EMBEDDED)
    parser.add_argument("--n", type=positive, default=200, help="held-out problems")
    parser.add_argument("--steps", type=positive, default=Descent.steps, help="of gradient descent")
    parser.add_argument("--seed", type=count, default=0, help="of the problems")
    parser.add_argument("--out", type=Path, default=Path("runs/soft"), help="folder of their traces")
    options, overrides = parser.parse_known_args(arguments)
    evaluated = find(options.what, overrides)
    check_folder(options.out, "--out")
    recipe, folder, console = evaluated.recipe, evaluated.verbalizer, show_log(VerbConsole())
    reasoner = load_reasoner(recipe.reasoner)
    metric = ThoughtMetric.load(folder, reasoner)
    encoded = EncodedSteps.from_json((folder / ENCODED_FILE).read_text())
    seed = FIRST_SEED + 10 * options.seed
    out = options.out / f"heldout-{options.n}-{seed}"
    asked = TraceRequest.of_training(recipe, Split.HELDOUT, options.n, seed, out)
    traces = collect(reasoner, recipe.task.build(), asked)
    thoughts = thoughts_of(traces, thought_sites(reasoner.n_thoughts), encoded, active_only=True)
    translator = Translator(reasoner, folder, recipe.grpo.max_new_tokens)
    constant = [CONSTANT] * len(thoughts)
    descent = Descent(steps=options.steps)

    table = Table("text", "match [95 %]", "n")

    def row(name: str, match: Tensor) -> None:
        figure = figures.mean(match.tolist(), thoughts.problems)
        table.add_row(name, str(figure), str(figure.n))

    def as_words(texts: Sequence[str]) -> Tensor:
        predicted = metric.predict(texts, thoughts.sites)
        return metric.match(thoughts.targets, predicted, thoughts.sites)

    def as_vectors(texts: Sequence[str]) -> Tensor:
        return softened(reasoner, metric, thoughts.targets, thoughts.sites, texts, descent)

    translations = translator.greedy(thoughts.slots)
    row("gold claim", as_words(thoughts.gold))
    row("translation", as_words(translations))
    row("constant", as_words(constant))
    row("soft text, begun at the gold claim", as_vectors(thoughts.gold))
    row("soft text, begun at the constant", as_vectors(constant))
    console.print(table)


if __name__ == "__main__":
    run_verb(main)
