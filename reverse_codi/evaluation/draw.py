"""Draw the evaluation set: fresh held-out problems, enough wrong traces, minimal pairs, training traces.

Traces are kept in the evaluation's folder, so that another control, or a run that was stopped, finds them.
Those of training are taken from the run where they are still there.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from pathlib import Path

from reverse_codi.errors import RecipeError
from reverse_codi.evaluation.defaults import AMONG, Size
from reverse_codi.evaluation.eval_set import EvalContext, EvalSet, MinimalPairs
from reverse_codi.reading.claims import EncodedSteps
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.recipe.schema import Recipe
from reverse_codi.tasks.answers import answer_of
from reverse_codi.tasks.base import MakesMinimalPairs, Split
from reverse_codi.tasks.dataset import DatasetTask
from reverse_codi.traces.collect import TraceRequest, collect
from reverse_codi.traces.files import MANIFEST, Manifest
from reverse_codi.traces.store import TraceStore
from reverse_codi.verbalize.kept_claims import read_claims
from reverse_codi.verbalize.self_generated_cot import FILE

log = logging.getLogger(__name__)

# Fresh problems have seeds from here on: no recipe trains or selects on them.
FIRST_SEED = 500_000
TRAIN_TRACES = 20_000
# Problems drawn at most in search of wrong traces, and how many more than the expected number are drawn.
MOST_DRAWN, MARGIN = 60_000, 1.3


@dataclass(frozen=True, kw_only=True)
class EvalSetRequest:
    """Which problems an evaluation set is made of.

    Attributes:
        out: the evaluation's folder.
        size: how much is asked.
        seed: of the problems drawn.
        given: a trace store to evaluate on instead of fresh problems.
    """

    out: Path
    size: Size = field(default_factory=Size)
    seed: int = 0
    given: Path | None = None


def draw(
    recipe: Recipe,
    reasoner: CodiReasoner,
    metric: ThoughtMetric,
    encoded: EncodedSteps,
    request: EvalSetRequest,
) -> EvalSet:
    """Build the evaluation set of one reasoner.

    Args:
        recipe: gives the task.
        reasoner: who thinks.
        metric: how texts are read.
        encoded: which steps each site holds.
        request: which problems.

    Raises:
        RecipeError: the given traces hold no steps or no answers to compare with.
    """
    task, size, given = recipe.task.build(), request.size, request.given

    def traces(name: str, split: Split, n: int, first: int) -> TraceStore:
        out = request.out / "traces" / f"{name}-{first}"
        return collect(reasoner, task, TraceRequest.of_evaluation(recipe, split, n, first, out))

    most = min(TRAIN_TRACES, recipe.trace.n)
    if kept := of_training(recipe, reasoner, most):
        train, solved = kept
    else:
        train, solved = traces("train", Split.TRAIN, most, recipe.trace.seed), {}
    context = EvalContext.of(reasoner, task, metric, encoded, train, solved)
    first = FIRST_SEED + 10 * request.seed
    if given is None:
        heldout = traces("heldout", Split.HELDOUT, size.problems, first)
    else:
        heldout = _checked(TraceStore.open(given, reasoner), given)
    errors = 1 - sum(map(bool, heldout.correct)) / len(heldout)
    drawn = math.ceil(MARGIN * size.wrong / max(errors, 1 / len(heldout)))
    most = len(task.corpus.heldout) if isinstance(task, DatasetTask) else MOST_DRAWN
    more = traces("more", Split.HELDOUT, min(most, MOST_DRAWN, drawn), first + 1)
    wrong = [row for row, ok in enumerate(more.correct) if not ok and more.answers[row] is not None]
    if len(wrong) < size.wrong:
        log.warning(f"{len(wrong)} wrong traces in {len(more):,} problems; {size.wrong} were wanted")
    pairs = _pairs(context, size.pairs, first + 2)
    return EvalSet(context, heldout, more.select(wrong[: size.wrong]), pairs, request.seed, size.retrieval)


def of_training(
    recipe: Recipe, reasoner: CodiReasoner, most: int
) -> tuple[TraceStore, dict[str, list[str]]] | None:
    """The training traces, if the run's are still where its recipe says, and what the model wrote for them.

    Args:
        recipe: of the run.
        reasoner: who thought.
        most: traces that are wanted, the first ones.

    Returns:
        Traces, and by question the steps that the model wrote for it, where training needed them. None
        without such traces: they are collected anew then, and are the same.

    Raises:
        UserError: files there are damaged.
    """
    folder = Path(recipe.trace.out)
    if not (folder / MANIFEST).is_file():
        return None
    header = Manifest.read(folder).header
    if (header.recipe_hash, header.reasoner_hash) != (recipe.trace_hash, reasoner.content_hash):
        return None
    store = TraceStore.open(folder, reasoner)
    if not store.complete:
        return None
    written = read_claims(folder / FILE, "written", reasoner, store.questions)
    return store.select(range(min(most, len(store)))), dict(zip(store.questions, written, strict=False))


def _checked(traces: TraceStore, path: Path) -> TraceStore:
    if len(traces) < AMONG:
        raise RecipeError(f"{path} holds {len(traces)} traces; a text competes with {AMONG - 1} others")
    if not any(traces.claims):
        raise RecipeError(
            f"{path} holds no steps (claims), which translations are compared with; import it with claims"
        )
    if all(gold is None for gold in traces.gold):
        raise RecipeError(f"{path} holds no gold answers; import it with gold answers")
    return traces


def _pairs(context: EvalContext, n: int, seed: int) -> MinimalPairs | None:
    """Minimal pairs, where the task can make them."""
    task = context.task
    if not isinstance(task, MakesMinimalPairs):
        return None
    recipients, donors = zip(*task.minimal_pairs(Split.HELDOUT, n, seed), strict=True)
    chains, donor_chains = (
        context.reasoner.think([p.question for p in side]) for side in (recipients, donors)
    )
    answers, donor_answers = (
        [answer_of(context.reasoner, task, output) for output in side.outputs]
        for side in (chains, donor_chains)
    )
    return MinimalPairs(list(recipients), list(donors), chains, donor_chains, answers, donor_answers)
