"""Collect traces: a frozen reasoner answers questions, and a store keeps its thoughts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from reverse_codi.reasoners.base import Reasoner
from reverse_codi.reasoners.question_checks import askable
from reverse_codi.recipe.traces import OnBad
from reverse_codi.tasks.answers import answer_of, canonical_plain
from reverse_codi.tasks.base import Problem, Split, Task
from reverse_codi.traces.files import MANIFEST, Manifest
from reverse_codi.traces.store import StoreError, Trace, TraceHeader, TraceStore, TraceWriter
from reverse_codi.utils.console import progress


def collect(
    reasoner: Reasoner,
    task: Task,
    *,
    split: Split,
    n: int,
    seed: int,
    out: str | Path,
    shard_rows: int,
    batch_size: int,
    recipe_hash: str,
    console: Console,
    on_bad: OnBad = "error",
    writes: bool = False,
) -> TraceStore:
    """Collect `n` traces into the store at `out`; one that was begun is continued.

    A continued store has the bytes of an uninterrupted one: batches never cross a shard's end.

    Args:
        reasoner: who thinks.
        task: where the questions come from.
        split: train or heldout.
        n: how many questions.
        seed: of the questions drawn.
        out: folder of the store.
        shard_rows: traces a shard, the most that a stopped run loses.
        batch_size: questions handed to the reasoner at once.
        recipe_hash: kept in the store; a store of another recipe is refused.
        console: where the progress bar is shown.
        on_bad: what to do with questions that the reasoner cannot be asked; skipped ones make fewer traces.
        writes: the reasoner is to solve the questions in CoT mode later, too.

    Raises:
        QuestionError: a question is empty, or longer than the reasoner's positions.
        StoreError: `out` holds other traces, or answers read by other rules, or a vector is not finite.
        OSError: the disk is full; the shards so far are whole.
    """
    header = TraceHeader(
        reasoner=type(reasoner).__name__,
        reasoner_hash=reasoner.content_hash,
        tokenizer_hash=reasoner.tokenizer_hash,
        n_thoughts=reasoner.n_thoughts,
        width=reasoner.width,
        recipe_hash=recipe_hash,
        seed=seed,
        split=str(split),
    )
    problems: Sequence[Problem] = []
    if on_bad == "skip" or not _finished(Path(out), n):
        problems = askable(reasoner, task.problems(split, n, seed), on_bad, console, writes)
        n = len(problems)
    writer = TraceWriter.open(out, header, n)
    if writer.rows < n:
        with progress(console, f"traces of {split}", n, writer.rows) as advance:
            for start in range(writer.rows, n, shard_rows):
                shard = problems[start : start + shard_rows]
                traces: list[Trace] = []
                for first in range(0, len(shard), batch_size):
                    batch = shard[first : first + batch_size]
                    traces += traces_of(reasoner, task, batch)
                    advance(len(batch))
                writer.append_shard(traces)
    store = TraceStore.open(out, reasoner)
    _check_answers(store, reasoner, task, out)
    return store


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
