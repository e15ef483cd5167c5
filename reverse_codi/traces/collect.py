"""Collect traces: a frozen reasoner answers questions, and a store keeps its thoughts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from reverse_codi.reasoners.base import Reasoner
from reverse_codi.reasoners.question_checks import askable
from reverse_codi.recipe.schema import Recipe
from reverse_codi.recipe.traces import OnBad, TraceSection
from reverse_codi.storage.lock import owned
from reverse_codi.tasks.answers import answer_of, canonical_plain
from reverse_codi.tasks.base import Problem, Split, Task
from reverse_codi.traces.files import MANIFEST, Manifest
from reverse_codi.traces.store import StoreError, Trace, TraceHeader, TraceStore, TraceWriter
from reverse_codi.utils.console import progress

_SECTION = TraceSection()


@dataclass(frozen=True, kw_only=True)
class TraceRequest:
    """Which traces to collect, and how.

    Attributes:
        split: train or heldout.
        n: how many questions.
        seed: of the questions drawn.
        out: folder of the store.
        shard_rows: traces a shard, the most that a stopped run loses.
        batch_size: questions handed to the reasoner at once.
        recipe_hash: kept in the store; a store of another recipe is refused.
        on_bad: what to do with questions that the reasoner cannot be asked; skipped ones make fewer traces.
        writes: the reasoner is to solve the questions in CoT mode later, too.
    """

    split: Split
    n: int
    seed: int
    out: str | Path
    shard_rows: int = _SECTION.shard_rows
    batch_size: int = _SECTION.batch_size
    recipe_hash: str = ""
    on_bad: OnBad = _SECTION.on_bad_question
    writes: bool = False

    @classmethod
    def of_training(cls, recipe: Recipe, split: Split, n: int, seed: int, out: str | Path) -> Self:
        """Traces that a run of the recipe trains on or is judged on; another trace section makes others."""
        return cls(
            split=split,
            n=n,
            seed=seed,
            out=out,
            shard_rows=recipe.trace.shard_rows,
            batch_size=recipe.trace.batch_size,
            recipe_hash=recipe.trace_hash,
            on_bad=recipe.trace.on_bad_question,
            writes=recipe.needs_self_generated_cot,
        )

    @classmethod
    def of_evaluation(cls, recipe: Recipe, split: Split, n: int, seed: int, out: str | Path) -> Self:
        """Traces that an evaluation draws: of the recipe's task and reasoner, however it trains."""
        asked = cls.of_training(recipe, split, n, seed, out)
        return replace(asked, recipe_hash=recipe.asked_hash, writes=True)


def collect(reasoner: Reasoner, task: Task, request: TraceRequest) -> TraceStore:
    """Collect traces into the store of `request`, go on with one that was begun, or open one that is whole.

    A continued store has the bytes of an uninterrupted one: batches never cross a shard's end.

    Args:
        reasoner: who thinks.
        task: where the questions come from.
        request: which traces, and where they are kept.

    Raises:
        QuestionError: a question is empty, or longer than the reasoner's positions.
        StoreError: the folder holds other traces, or answers read by other rules, or a vector is not finite.
        InUseError: another run collects them.
        DiskError: the disk is full; the shards so far are whole.
    """
    out, n = request.out, request.n
    header = TraceHeader(
        reasoner=type(reasoner).__name__,
        reasoner_hash=reasoner.content_hash,
        tokenizer_hash=reasoner.tokenizer_hash,
        n_thoughts=reasoner.n_thoughts,
        width=reasoner.width,
        recipe_hash=request.recipe_hash,
        seed=request.seed,
        split=str(request.split),
    )
    problems: Sequence[Problem] = []
    if request.on_bad == "skip" or not _finished(Path(out), n):
        drawn = task.problems(request.split, n, request.seed)
        problems = askable(reasoner, drawn, request.on_bad, request.writes)
        n = len(problems)
    # Any number of runs may read traces; one collects them.
    with nullcontext() if _finished(Path(out), n) else owned(out, "trace.out"):
        writer = TraceWriter.open(out, header, n)
        if writer.rows < n:
            _write(writer, reasoner, task, problems, request)
    store = TraceStore.open(out, reasoner)
    _check_answers(store, reasoner, task, out)
    return store


def _write(
    writer: TraceWriter, reasoner: Reasoner, task: Task, problems: Sequence[Problem], request: TraceRequest
) -> None:
    """Add the shards that a store lacks."""
    n, rows, batch_size = len(problems), request.shard_rows, request.batch_size
    with progress(f"traces of {request.split}", n, writer.rows) as advance:
        for start in range(writer.rows, n, rows):
            shard = problems[start : start + rows]
            traces: list[Trace] = []
            for first in range(0, len(shard), batch_size):
                batch = shard[first : first + batch_size]
                traces += traces_of(reasoner, task, batch)
                advance(len(batch))
            writer.append_shard(traces)


def traces_of(reasoner: Reasoner, task: Task, problems: Sequence[Problem]) -> list[Trace]:
    """Let the reasoner answer problems, in one call."""
    chains = reasoner.think([problem.question for problem in problems])
    hidden_states, latent_inputs = (
        chains.hidden_states.numpy(),
        chains.latent_inputs.numpy(),
    )  # [N, K + 1, d], [N, K, d]
    traces = []
    for i, (problem, output) in enumerate(zip(problems, chains.outputs, strict=True)):
        answer = answer_of(reasoner, task, output)
        traces.append(
            Trace(
                question=problem.question,
                signature=problem.signature,
                gold=problem.answer,
                claims=problem.claims,
                hidden_states=hidden_states[i],
                latent_inputs=latent_inputs[i],
                output=output,
                answer=answer,
                correct=answer == problem.answer,
            )
        )
    return traces


def _check_answers(store: TraceStore, reasoner: Reasoner, task: Task, out: str | Path) -> None:
    """Refuse traces whose answers an earlier version read or spelled differently."""
    for row, (output, answer, gold) in enumerate(zip(store.outputs, store.answers, store.gold, strict=True)):
        now = answer_of(reasoner, task, output), None if gold is None else canonical_plain(gold)
        if now != (answer, gold):
            raise StoreError(
                f"{out}: trace {row} has answer {answer!r} and gold {gold!r}, which are "
                f"{now[0]!r} and {now[1]!r} by the rules of now; delete the folder, or give another trace.out"
            )


def _finished(store: Path, n: int) -> bool:
    """Whether the store has all `n` traces; opening it checks which questions they answer."""
    return (store / MANIFEST).is_file() and Manifest.read(store).rows_written == n
