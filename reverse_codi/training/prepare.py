"""What comes before anything is trained: traces, the steps that thoughts encode, and the maps.

Traces lie in folders of their own (`trace.out`), the rest in the run's; what a former run left is used again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from reverse_codi.reading.claims import ENCODED_FILE, EncodedSteps, find_encoded_steps
from reverse_codi.reading.contents import choose_contents
from reverse_codi.reading.cross_check import cross_check, report
from reverse_codi.reading.encoded_table import check_encoded, encoded_lines
from reverse_codi.reading.fit import fit_metric
from reverse_codi.reading.interventions.causal_activity import causal_activity
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reading.reader import Reader
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.load import load_reasoner
from reverse_codi.reasoners.sites import ANSWER, Site
from reverse_codi.recipe.schema import Recipe
from reverse_codi.storage.files import write_whole
from reverse_codi.storage.manifest import write_manifest
from reverse_codi.storage.mirrors import push_all
from reverse_codi.storage.stages import finished, record
from reverse_codi.tasks.base import MakesMinimalPairs, Split, Task
from reverse_codi.traces.collect import TraceRequest, collect
from reverse_codi.traces.store import TraceStore
from reverse_codi.training.stage_folders import READING, READING_FILES, reading_settings
from reverse_codi.verbalize.lens_claims import lens_claims
from reverse_codi.verbalize.self_generated_cot import SelfGeneratedCot, self_generated_cot
from reverse_codi.verbalize.thoughts import Thoughts, target_sites, thought_sites, thoughts_of

log = logging.getLogger(__name__)

# Minimal pairs of training problems that say which thoughts are causally active.
SWAPPED_PAIRS = 300


@dataclass(frozen=True)
class Traces:
    """How the frozen model thought about training and held-out problems.

    Attributes:
        reasoner: the frozen model.
        train: training traces.
        own: what each training trace says without labels; None where no one needs it.
        claims: what each training trace is taken to say: its gold steps, its own, or what lens search finds.
        heldout: held-out traces.
        sites: the thoughts h0..h(K-1), or the answer.
    """

    reasoner: CodiReasoner
    train: TraceStore
    own: SelfGeneratedCot | None
    claims: list[list[str]]
    heldout: TraceStore
    sites: list[Site]


@dataclass(frozen=True)
class Prepared(Traces):
    """Everything that training and evaluation share: the traces, and how texts are compared with them.

    Attributes:
        encoded: which steps each site encodes.
        metric: reader and maps.
        folder: where `maps.safetensors` and `encoded_steps.json` lie.
    """

    encoded: EncodedSteps
    metric: ThoughtMetric
    folder: Path

    def thoughts(self, split: Split, active_only: bool) -> Thoughts:
        """The thoughts of one side."""
        if split is Split.TRAIN:
            return thoughts_of(self.train, self.sites, self.encoded, active_only, self.claims)
        return thoughts_of(self.heldout, self.sites, self.encoded, active_only)


def prepare(recipe: Recipe, out: Path) -> Prepared:
    """Traces, probes and maps; what a former run left in `out` is used again."""
    return fit_reading(recipe, collect_traces(recipe), out / READING)


# ---- traces


def collect_traces(recipe: Recipe) -> Traces:
    """Let the frozen model think about the task's problems, or open what it thought in a former run."""
    reasoner = load_reasoner(recipe.reasoner)
    train, heldout = trace_both(recipe, reasoner)
    sites = target_sites(recipe.reading.spec.target, reasoner.n_thoughts)
    if ANSWER in sites:
        train, heldout = (traces.with_answer_states(reasoner) for traces in (train, heldout))
    own = None
    if recipe.needs_self_generated_cot:
        own = self_generated_cot(reasoner, train, Path(recipe.trace.out))
    match recipe.reading.fit_on:
        case "written":
            assert own is not None  # by `Recipe.needs_self_generated_cot`
            claims = own.claims
        case "lens":
            claims = lens_claims(reasoner, train, Path(recipe.trace.out))
        case "gold":
            claims = train.claims
    return Traces(reasoner, train, own, claims, heldout, sites)


def trace_both(recipe: Recipe, reasoner: CodiReasoner) -> tuple[TraceStore, TraceStore]:
    """The training traces, and the held-out ones beside them."""
    section, task, asked = recipe.trace, recipe.task.build(), TraceRequest.of_training
    both = (
        collect(reasoner, task, asked(recipe, Split.TRAIN, section.n, section.seed, section.out)),
        collect(
            reasoner, task, asked(recipe, Split.HELDOUT, section.n_heldout, section.seed, section.heldout_out)
        ),
    )
    push_all()
    return both


# ---- probes and maps


def fit_reading(recipe: Recipe, traces: Traces, folder: Path, swaps: bool = True) -> Prepared:
    """Fit probes and maps into `folder`, or load what a former run fitted.

    Args:
        recipe: of the run.
        traces: what is probed and mapped.
        folder: gets the files.
        swaps: swap thoughts between minimal pairs, if the task makes them, to see which the reasoner uses.

    Raises:
        NothingEncodedError: probes read nothing at any site.
        StageError: it was fitted with other settings or on other traces.
    """
    inputs = {**reading_settings(recipe), "traces": traces.train.identity}
    if not finished(folder, inputs, READING_FILES):
        record(folder, inputs)
        _fit(recipe, traces, folder, swaps)
    encoded = EncodedSteps.load(folder)
    metric = ThoughtMetric.load(folder, traces.reasoner)
    return Prepared(**vars(traces), encoded=encoded, metric=metric, folder=folder)


def _fit(recipe: Recipe, traces: Traces, folder: Path, swaps: bool) -> None:
    """Find which steps each site encodes, fit the maps, and write both to `folder`."""
    log.info("probing which steps each thought holds")
    reasoner, train, claims, own = traces.reasoner, traces.train, traces.claims, traces.own
    n = min(len(train), recipe.reading.traces or len(train))
    probed = {site: train.vectors(site)[:n] for site in thought_sites(reasoner.n_thoughts)}
    moved = moved_by_swaps(reasoner, recipe.task.build(), recipe.trace.seed) if swaps else {}
    encoded = find_encoded_steps(probed, claims[:n], recipe.reading.encoded_threshold, moved=moved)
    reader = Reader(reasoner, recipe.reading.spec)
    if ANSWER not in traces.sites:
        log.info("comparing what thoughts may hold, where probes leave it open")
        encoded = choose_contents(reader, encoded, train, claims[:n], recipe.reading.memory_gib)
    write_whole(folder / ENCODED_FILE, encoded.to_json())
    write_manifest(folder, (ENCODED_FILE,))
    for line in encoded_lines(encoded):
        log.info(line)
    if ANSWER not in traces.sites:
        check_encoded(encoded)
    log.info("fitting the maps from read texts to thoughts")
    again = [row for row in own.disagreeing if row < n] if own and claims is own.claims else []
    rows = [*range(n), *again * (recipe.reading.disagreeing - 1)]
    claims = [claims[row] for row in rows]
    section = recipe.reading
    metric = fit_metric(
        reader, traces.sites, encoded, train.select(rows), claims, section.framed, section.memory_gib
    )
    metric.save(folder)
    if ANSWER not in traces.sites:
        report(cross_check(metric, encoded, traces.heldout))


def moved_by_swaps(reasoner: CodiReasoner, task: Task, seed: int) -> dict[tuple[Site, int], float]:
    """Share of answers that each thought moves when it is swapped between minimal pairs; no label is used.

    Empty where the task makes no such pairs, or the model answers none of them.
    """
    if not isinstance(task, MakesMinimalPairs):
        return {}
    return causal_activity(reasoner, task, task.minimal_pairs(Split.TRAIN, SWAPPED_PAIRS, seed)).moved()
