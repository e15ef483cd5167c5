"""From problems to the token ids that `codi_terms` trains on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from reverse_codi.tasks.base import Problem


@dataclass(frozen=True)
class Row:
    """One problem in token ids; `answer` starts with the cue and ends with eos."""

    question: list[int]
    steps: list[list[int]]
    answer: list[int]
    cue_length: int


def written_step(claim: str) -> str:
    """How a step is written in text mode: its claim as a sentence."""
    return f"{claim}."


class ProblemRows(Dataset[Row]):
    """Problems tokenized once.

    Args:
        problems: with gold steps.
        tokenizer: the reasoner's.
        cue: what stands before the answer ("The answer is:").
    """

    def __init__(self, problems: Sequence[Problem], tokenizer: PreTrainedTokenizerBase, cue: str) -> None:
        def ids(texts: list[str]) -> list[list[int]]:
            # An empty list would confuse the tokenizer with an empty text.
            return tokenizer(texts, add_special_tokens=False).input_ids if texts else []

        questions = ids([p.question for p in problems])
        steps = iter(ids([written_step(claim) for p in problems for claim in p.claims]))
        answers = ids([f"{cue} {p.answer}" for p in problems])
        cue_length = len(ids([cue])[0])
        eos = tokenizer.eos_token_id
        self.rows = [
            Row(question, [next(steps) for _ in problem.steps], [*answer, eos], cue_length)
            for problem, question, answer in zip(problems, questions, answers, strict=True)
        ]

    def __len__(self) -> int:
        """Number of problems."""
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        """One problem's token ids."""
        return self.rows[index]


@dataclass
class Visibility:
    """What the tokens after the thoughts may see, in training.

    Attributes:
        hide_question: share of rows whose answer cannot see the question.
        staged: share of staged rows now; the trainer lowers it as training goes on.
        thoughts_per_step: thoughts that a staged row spends on each step it does not write.
    """

    hide_question: float
    staged: float
    thoughts_per_step: float


def padded(rows: Sequence[Sequence[int]], pad: int, left: bool = False) -> tuple[Tensor, Tensor]:
    """Token ids and mask [B, T], padded on one side."""
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), pad, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        where = slice(width - len(row), width) if left else slice(0, len(row))
        ids[i, where] = torch.tensor(row, dtype=torch.long)
        mask[i, where] = 1
    return ids, mask


class Collator:
    """Batches for `distillation.Batch`, as a dict of tensors.

    Args:
        pad: padding token id.
        eot: end-of-thought token id.
        n_thoughts: K.
        visibility: shared with the trainer, which updates it.
    """

    def __init__(self, pad: int, eot: int, n_thoughts: int, visibility: Visibility) -> None:
        self.pad = pad
        self.eot = eot
        self.n_thoughts = n_thoughts
        self.visibility = visibility

    def __call__(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        """Draw each row's visibility and pad."""
        see = self.visibility
        hidden, n_fed, tails = [], [], []
        for row, chance in zip(rows, torch.rand(len(rows), 2).tolist(), strict=True):
            left: list[list[int]] = []
            fed, hide = self.n_thoughts, chance[1] < see.hide_question
            if row.steps and chance[0] < see.staged:
                done = int(chance[0] / see.staged * len(row.steps))  # steps thought, uniform on 0..n-1
                left, hide = row.steps[done:], False
                fed = min(self.n_thoughts, math.ceil(done * see.thoughts_per_step))
            hidden.append(hide)
            n_fed.append(fed)
            tails.append([self.eot, *(token for step in left for token in step)])
        question, question_mask = padded([row.question for row in rows], self.pad, left=True)
        steps = [[token for step in row.steps for token in step] for row in rows]
        written, written_mask = padded([s + r.answer for s, r in zip(steps, rows, strict=True)], self.pad)
        thought, thought_mask = padded([t + r.answer for t, r in zip(tails, rows, strict=True)], self.pad)
        cues = [row.cue_length - 1 for row in rows]
        return {
            "question": question,
            "question_mask": question_mask,
            "written": written,
            "written_mask": written_mask,
            "written_cue": torch.tensor([len(s) + c for s, c in zip(steps, cues, strict=True)]),
            "thought": thought,
            "thought_mask": thought_mask,
            "thought_cue": torch.tensor([len(t) + c for t, c in zip(tails, cues, strict=True)]),
            "n_fed": torch.tensor(n_fed),
            "hidden": torch.tensor(hidden),
        }
