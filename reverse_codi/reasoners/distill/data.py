"""From problems to the token ids that `codi_terms` trains on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from reverse_codi.reasoners.codi_config import CodiConfig
from reverse_codi.tasks.base import Problem


@dataclass(frozen=True)
class EncodedProblem:
    """One problem in token ids.

    Attributes:
        question: the question.
        steps: its solution in claims, or the part of it that is left to write.
        totals: the same in running totals, between the begin- and end-of-thought tokens.
        answer: from the cue to eos.
        cue_length: tokens of the cue.
        n_steps: steps of the whole gold solution.
    """

    question: list[int]
    steps: list[int]
    totals: list[int]
    answer: list[int]
    cue_length: int
    n_steps: int

    def length(self, thoughts: int, staged: bool) -> int:
        """Largest number of positions in training, with this many thoughts besides bot and eot.

        Args:
            thoughts: K.
            staged: whether steps follow the thoughts (Coconut) or replace them (CODI).
        """
        written = max(len(self.steps), len(self.totals))
        between = thoughts + 2 + written if staged else max(written, thoughts + 2)
        return len(self.question) + between + len(self.answer)


def written_step(claim: str) -> str:
    """A step in CoT mode: its claim as a sentence."""
    return f"{claim}."


class ProblemRows(Dataset[EncodedProblem]):
    """Problems tokenized once.

    Args:
        problems: with gold steps.
        tokenizer: the reasoner's.
        config: gives the cue and the begin- and end-of-thought tokens.
        n_skipped: first steps that no solution shows (thoughts stand for them); None for all.
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        tokenizer: PreTrainedTokenizerBase,
        config: CodiConfig,
        n_skipped: int | None = 0,
    ) -> None:
        def ids(texts: list[str]) -> list[list[int]]:
            encoded: list[list[int]] = tokenizer(texts, add_special_tokens=False).input_ids
            return encoded

        questions = [[*config.begin_ids, *question] for question in ids([p.question for p in problems])]
        left = [() if n_skipped is None else p.steps[n_skipped:] for p in problems]
        steps = ids([" ".join(written_step(step.claim) for step in some) for some in left])
        totals = ids([" ".join(step.result for step in some) for some in left])
        # If a space is a token of its own, the cue ends with it (`CodiConfig.cue`).
        answers = ids([f"{config.cue.removesuffix(' ')} {p.answer}" for p in problems])
        cue_length = len(ids([config.cue])[0])
        eos = tokenizer.eos_token_id
        self.rows = [
            EncodedProblem(
                question,
                step,
                [config.bot_id, *total, config.eot_id],
                [*answer, eos],
                cue_length,
                len(problem.steps),
            )
            for problem, question, step, total, answer in zip(
                problems, questions, steps, totals, answers, strict=True
            )
        ]

    def __len__(self) -> int:
        """Number of problems."""
        return len(self.rows)

    def __getitem__(self, index: int) -> EncodedProblem:
        """One problem's token ids."""
        return self.rows[index]


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


def drawn_thoughts(chances: Tensor, least: Tensor, n_thoughts: int, truncate: float) -> Tensor:
    """How many thoughts each answer sees [B]: all, or a number from `least` to all.

    Args:
        chances: [2, B] in [0, 1): whether a row is truncated, and how far.
        least: [B] thoughts that a row's steps need.
        n_thoughts: number of thoughts.
        truncate: share of truncated rows.
    """
    shorter = least + (chances[1] * (n_thoughts + 1 - least)).long()
    return torch.where(chances[0] < truncate, shorter, n_thoughts)


class Collator:
    """Batches for `distillation.Batch`, as a dict of tensors.

    Args:
        pad: padding token id.
        eot: end-of-thought token id.
        n_thoughts: K.
        hide_question: share of rows whose answer cannot see the question.
        truncate: share of rows whose answer sees only m thoughts; m is uniform from the number of steps to K.
        totals: share of rows whose written solution is running totals.
    """

    def __init__(
        self, pad: int, eot: int, n_thoughts: int, hide_question: float, truncate: float, totals: float
    ) -> None:
        self.pad = pad
        self.eot = eot
        self.n_thoughts = n_thoughts
        self.truncate = truncate
        self.hide_question = hide_question
        self.totals = totals

    def __call__(self, rows: Sequence[EncodedProblem]) -> dict[str, Tensor]:
        """Draw each row's style and visibility, and pad."""
        chance = torch.rand(4, len(rows))
        solutions = [
            row.totals if short else row.steps
            for row, short in zip(rows, chance[0] < self.totals, strict=True)
        ]
        question, question_mask = padded([row.question for row in rows], self.pad, left=True)
        written, written_mask = padded([s + r.answer for s, r in zip(solutions, rows, strict=True)], self.pad)
        thought, thought_mask = padded([[self.eot, *row.answer] for row in rows], self.pad)
        least = torch.tensor([min(row.n_steps, self.n_thoughts) for row in rows])
        cue_end = torch.tensor([row.cue_length - 1 for row in rows])
        return {
            "question": question,
            "question_mask": question_mask,
            "written": written,
            "written_mask": written_mask,
            "written_cue": cue_end + torch.tensor([len(solution) for solution in solutions]),
            "thought": thought,
            "thought_mask": thought_mask,
            "thought_cue": cue_end + 1,
            "n_fed": drawn_thoughts(chance[2:], least, self.n_thoughts, self.truncate),
            "hidden": chance[1] < self.hide_question,
        }
