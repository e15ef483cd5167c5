"""Stand-ins that are what they stand in for: whole Protocols, of which a test writes the part it is about."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.text import Text
from torch import Tensor

from reverse_codi.cli.output import Output, shown
from reverse_codi.reasoners.base import Chains, Patch, Reasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.rewards.batch import RewardBatch
from reverse_codi.rewards.declare import RewardSpec
from reverse_codi.traces.imports import import_arrays
from reverse_codi.traces.store import TraceStore
from reverse_codi.utils.tables import Table
from tests.tiny import make_batch, make_rows, make_table_metric


class FakeReasoner(Reasoner):
    """A reasoner of one thought of width 1 that can do nothing; a subclass does what its test needs."""

    n_thoughts = 1
    width = 1
    content_hash = "constructed"
    tokenizer_hash = "constructed"
    answer_cue = "The answer is:"

    def think(
        self, questions: Sequence[str], patch: Patch | None = None, n_thoughts: int | None = None
    ) -> Chains:
        raise NotImplementedError

    def project(self, hidden_states: Tensor) -> Tensor:
        raise NotImplementedError

    def logits(self, hidden_states: Tensor) -> Tensor:
        raise NotImplementedError

    def offsets(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        raise NotImplementedError

    def answer_states(self, questions: Sequence[str], patch: Patch | None = None) -> Tensor:
        raise NotImplementedError

    def write(self, questions: Sequence[str], begun: Sequence[str] | None = None) -> list[str]:
        raise NotImplementedError

    def nll(self, texts: Sequence[str], questions: Sequence[str] | None = None) -> Tensor:
        raise NotImplementedError

    def read(
        self, texts: Sequence[str], questions: Sequence[str] | None = None, suffix: str = ""
    ) -> list[Tensor]:
        raise NotImplementedError


class WatchedReasoner(FakeReasoner):
    """Reads as another reasoner does, and notes every call's texts and questions ("" without one)."""

    def __init__(self, reasoner: Reasoner) -> None:
        self.reasoner = reasoner
        self.calls: list[list[tuple[str, str]]] = []

    @property
    def texts(self) -> list[str]:
        """Every text that was read, in order."""
        return [text for call in self.calls for text, _ in call]

    def read(
        self, texts: Sequence[str], questions: Sequence[str] | None = None, suffix: str = ""
    ) -> list[Tensor]:
        self.calls.append(list(zip(texts, questions or [""] * len(texts), strict=True)))
        return self.reasoner.read(texts, questions, suffix)

    def offsets(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        return self.reasoner.offsets(texts)


def make_store(
    folder: Path,
    answers: Sequence[str | None],
    questions: Sequence[str] | None = None,
    claims: Sequence[Sequence[str]] | None = None,
    correct: Sequence[bool] | None = None,
    hidden_states: Tensor | None = None,
) -> TraceStore:
    """Traces that say what a test wants them to say; their vectors are zeros unless given.

    Args:
        folder: where they are kept.
        answers: N answers that the thoughts gave.
        questions: N questions.
        claims: N lists of gold claims.
        correct: N flags; they decide the gold answers. None: no gold answer is known.
        hidden_states: [N, K + 1, d]; the first K of each are its latent inputs.
    """
    states = torch.zeros(len(answers), 2, 1) if hidden_states is None else hidden_states
    manifest = {
        "questions": list(questions or [f"question {i}" for i in range(len(answers))]),
        "answers": list(answers),
        "claims": [list(of) for of in claims or [[]] * len(answers)],
        "reasoner_hash": "constructed",
    }
    if correct is not None:
        manifest["gold"] = [
            (answer or "1") if right else "another" for answer, right in zip(answers, correct, strict=True)
        ]
    vectors = {"hidden_states": np.asarray(states), "latent_inputs": np.asarray(states[:, :-1])}
    return import_arrays(folder, vectors, manifest)


def make_reward_batch(texts: Sequence[str]) -> RewardBatch:
    """Texts for rewards that look at nothing else."""
    site = Site("h", 0)
    metric = make_table_metric({"": [0.0]}, site, [0.0])
    return make_batch(make_rows(list(texts), torch.zeros(len(texts), 1), site), metric)


def called(record: RewardSpec, batch: RewardBatch) -> list[float | None]:
    """What a reward function returns, as it stands."""
    values = record.function(batch)
    assert not isinstance(values, Awaitable)
    return list(values)


def screen(width: int = 100, terminal: bool = False) -> Console:
    """A console whose output `printed` gives."""
    return Console(file=io.StringIO(), width=width, force_terminal=terminal or None)


def printed(console: Console) -> str:
    """What was printed on a `screen`."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def output(console: Console | None = None) -> Output:
    """A verb's output, on one console; on none if it is None."""
    console = Console(quiet=True) if console is None else console
    return Output(console, console)


def lines_of(*parts: Table | Text | str, width: int = 80) -> list[str]:
    """What a verb prints, line by line."""
    console = screen(width)
    shown(console, *parts)
    return printed(console).splitlines()
