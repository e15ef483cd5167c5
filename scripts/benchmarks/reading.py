"""Reading and scoring: texts a second, against padded batches, one text at a time, and the processor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from benchmarks.measure import Row, Side
from benchmarks.setting import Setting, matrix_products
from reverse_codi.evaluation.reward_trials.timing import five_rewards, make_rows
from reverse_codi.reading.reader import Reader
from reverse_codi.recipe.reading import Prefix, ReadSpec
from reverse_codi.rewards.scoring import LocalScorer


@contextmanager
def read(at: Setting, work: Path, samples: int = 16) -> Iterator[Row]:
    """The states of `samples` distinct texts for each question, read after it."""
    questions, texts = [], []
    for number, problem in enumerate(at.problems):
        for sample in range(samples):
            questions.append(problem.question)
            texts.append(f"{12 + sample} + {number} = {12 + sample + number}.")
    spec = ReadSpec(prefix=Prefix.QUESTION)
    n = float(len(texts))
    few = max(1, len(texts) // 16)
    reasoner = at.reasoner
    wholes = [
        before + reasoner.ids(text)
        for before, text in zip(reasoner.before_steps(questions), texts, strict=True)
    ]

    def ours() -> float:
        Reader(reasoner, spec).features(texts, questions)
        return n

    @torch.no_grad()
    def padded() -> float:
        """All texts in one batch of whole sequences, as `tokenizer(..., padding=True)` gives them."""
        states = []
        for start in range(0, len(wholes), reasoner.batch_size):
            ids, mask = reasoner.left_padded(wholes[start : start + reasoner.batch_size])
            out = reasoner.lm.base_model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
            states.append(torch.stack(out.hidden_states, 1)[:, :, -1].clone())
        torch.cat(states).cpu()
        return n

    @torch.no_grad()
    def alone() -> float:
        for row in wholes[:few]:
            ids = torch.tensor([row], device=reasoner.device)
            out = reasoner.lm.base_model(input_ids=ids, output_hidden_states=True)
            torch.stack(out.hidden_states, 1)[:, :, -1].cpu()
        return float(few)

    def limit() -> float:
        tokens = sum(len(reasoner.ids(text)) for text in texts)
        tokens += sum(len(reasoner.before_steps([p.question])[0]) for p in at.problems)
        matrix_products(reasoner, tokens)
        return n

    yield Row(
        "read",
        "texts/s",
        [
            Side("ours", ours),
            Side("padded batches", padded),
            Side("one text at a time", alone),
            Side("matrix products alone", limit),
        ],
        {
            "read.vs_padded": ("ours", "padded batches"),
            "read.vs_one": ("ours", "one text at a time"),
            "read.vs_matmul": ("ours", "matrix products alone"),
        },
    )


@contextmanager
def score(at: Setting, work: Path) -> Iterator[Row]:
    """The rewards of one step: five functions against one, and each with a reading of its own."""
    metric = at.metric
    rows = make_rows(metric, 1024)
    rewards = five_rewards()

    def scored(some: int) -> float:
        LocalScorer(metric, rewards[:some], [1.0] * some).score(rows)
        return float(len(rows))

    def apart() -> float:
        for reward in rewards:
            LocalScorer(metric, [reward], [1.0]).score(rows)
        return float(len(rows))

    yield Row(
        "score",
        "texts/s",
        [
            Side("ours: five rewards, one reading", lambda: scored(5)),
            Side("one reward", lambda: scored(1)),
            Side("five rewards, a reading each", apart),
        ],
        {
            "score.one_vs_five": ("one reward", "ours: five rewards, one reading"),
            "score.vs_serial": ("ours: five rewards, one reading", "five rewards, a reading each"),
        },
    )
