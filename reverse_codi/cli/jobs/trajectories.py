"""How a recurrent-depth model's states move as it iterates, token by token.

One row a token: class, the numbers that decide it, and what the state would say next after a few iterations
(logit lens). A folder gets trajectories.json, with the lens of every iteration, and a Plotly page a text. See
docs/huginn.md.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from reverse_codi.cli.output import Output
from reverse_codi.errors import RecipeError
from reverse_codi.reasoners.codi import CheckpointError
from reverse_codi.reasoners.huginn.plot import figure
from reverse_codi.reasoners.huginn.reasoner import HuginnReasoner
from reverse_codi.reasoners.huginn.trajectories import LEAST_ITERATIONS, RETURNS, Summary, summarise
from reverse_codi.reasoners.plain_text import Filled
from reverse_codi.reasoners.sites import Site
from reverse_codi.storage.files import figures_json, write_whole
from reverse_codi.storage.outputs import check_folder
from reverse_codi.utils.pages import write_page
from reverse_codi.utils.tables import Table

RESULT = "trajectories.json"
LENS_TOP = 3


@dataclass(frozen=True)
class TokenRow:
    """One token's trajectory.

    Attributes:
        site: its last state.
        token: its text.
        summary: class and numbers.
        lens: likeliest next tokens after every iteration, the initial state's first.
    """

    site: Site
    token: str
    summary: Summary
    lens: list[list[str]]

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {"site": str(self.site), "token": self.token, **asdict(self.summary), "lens": self.lens}


def follow(
    reasoner: HuginnReasoner, text: str | Filled, iterations: int, seed: int
) -> tuple[list[TokenRow], torch.Tensor]:
    """Every token's trajectory, of the states as the coda sees them.

    Returns T rows, and the states [iterations + 1, T, d].
    """
    [states] = reasoner.read([text], iterations, seed)
    seen = reasoner.normed(states)
    lens = reasoner.top_tokens(states, LENS_TOP)  # [iterations + 1][T][LENS_TOP]
    rows = [
        TokenRow(Site("t", i, iteration=iterations), token, summarise(seen[:, i]), [at[i] for at in lens])
        for i, token in enumerate(reasoner.tokens(text))
    ]
    return rows, seen


def shown_iterations(iterations: int) -> list[int]:
    """The few iterations whose reading the table has room for."""
    return sorted({1, iterations // 4, iterations // 2, iterations})


def tables_of(rows: Sequence[TokenRow], iterations: int) -> list[Table]:
    """Tables with a line a token in each: what the lens says, two iterations beside each other; numbers."""
    shown = shown_iterations(iterations)
    made = []
    for pair in (shown[:2], shown[2:]):
        names = [f"lens {i}" for i in pair]
        lens = Table("site", "token", *names, texts=names)
        for row in rows:
            tops = (" ".join(map(repr, row.lens[i])) for i in pair)
            lens.add_row(f"t{row.site.index}", repr(row.token), *tops)
        made.append(lens)
    names = ["last step", "settled", "period", "recurrence", "straightness", "decay"]
    numbers = Table("site", "class", *names)
    for row in rows:
        s = row.summary
        numbers.add_row(
            f"t{row.site.index}",
            str(s.kind),
            f"{s.last_step:.4f}",
            f"{s.settled:.3f}",
            str(s.period) if s.recurrence < RETURNS else "-",
            f"{s.recurrence:.2f}",
            f"{s.straightness:.2f}",
            f"{s.decay:.2f}",
        )
    return [*made, numbers]


def asked_of(options: argparse.Namespace) -> list[str | Filled]:
    """The texts as the model reads them."""
    return [Filled(text) if options.template else text for text in options.text]


def run(options: argparse.Namespace, out: Output) -> dict[str, Any]:
    """Follow every text, print the tables, write the files.

    Returns what trajectories.json holds.

    Raises:
        RecipeError: the model does not load, or a text or the number of iterations does not fit.
    """
    if options.iterations is not None and options.iterations < LEAST_ITERATIONS:
        raise RecipeError(f"--iterations {options.iterations}: give {LEAST_ITERATIONS} or more")
    check_folder(options.out, "--out")
    dtype = getattr(torch, options.dtype) if options.dtype else None
    try:
        reasoner = HuginnReasoner.from_pretrained(options.model, options.device, dtype)
        iterations = options.iterations or reasoner.config.mean_recurrence
        if iterations < LEAST_ITERATIONS:
            raise ValueError(
                f"the model was trained with {iterations} iterations on average; give --iterations "
                f"{LEAST_ITERATIONS} or more"
            )
        for text in asked_of(options):
            reasoner.ids(text)  # says what is wrong with a text before any is read
    except (CheckpointError, FileNotFoundError, ValueError) as error:
        raise RecipeError(str(error)) from None
    options.out.mkdir(parents=True, exist_ok=True)
    texts = [_one_text(reasoner, i, iterations, options, out) for i in range(len(options.text))]
    result = {
        "model": options.model,
        "reasoner_hash": reasoner.content_hash,
        "tokenizer_hash": reasoner.tokenizer_hash,
        "iterations": iterations,
        "seed": options.seed,
        "texts": texts,
    }
    write_whole(options.out / RESULT, figures_json(result, indent=1) + "\n")
    out.show(f"written to {options.out}")
    return result


def _one_text(
    reasoner: HuginnReasoner, number: int, iterations: int, options: argparse.Namespace, out: Output
) -> dict[str, Any]:
    text = asked_of(options)[number]
    rows, states = follow(reasoner, text, iterations, options.seed)
    counts = Counter(str(row.summary.kind) for row in rows)
    out.show(*tables_of(rows, iterations), ", ".join(f"{n} x {kind}" for kind, n in counts.most_common()))
    answers: dict[str, str] = {}
    if options.answer_tokens:
        for n in shown_iterations(iterations):
            [answers[str(n)]] = reasoner.answer([text], n, options.seed, options.answer_tokens)
            out.show(f"after {n} iterations a token: {answers[str(n)]!r}")
    if not options.no_plot:
        names = [f"t{row.site.index} {row.token!r}" for row in rows]
        notes = [[" ".join(map(repr, top)) for top in row.lens] for row in rows]
        kinds = [row.summary.kind for row in rows]
        write_page(options.out / f"text-{number}.html", figure(states, names, kinds, notes, options.axes))
    return {
        "text": str(text),
        "template": options.template,
        "counts": dict(counts),
        "answers": answers,
        "tokens": [row.record() for row in rows],
    }
