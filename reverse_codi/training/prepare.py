"""What comes before RL: traces, the steps that sites hold, the maps, the warm start.

Each part is written to the run's folder and loaded from there when a run is resumed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from reverse_codi.reading.claims import EncodedSteps, find_encoded_steps
from reverse_codi.reading.fit import fit_metric
from reverse_codi.reading.interventions.causal_activity import causal_activity
from reverse_codi.reading.metric import MAPS_FILE, ThoughtMetric
from reverse_codi.reading.reader import Reader
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.load import load_reasoner, reasoner_folder
from reverse_codi.reasoners.sites import ANSWER, Site
from reverse_codi.recipe.schema import Recipe
from reverse_codi.rollout.transformers_engine import TransformersEngine
from reverse_codi.tasks.base import Split
from reverse_codi.traces.collect import collect
from reverse_codi.traces.store import TraceStore
from reverse_codi.utils.files import write_whole
from reverse_codi.utils.stages import file_hash, finished, record
from reverse_codi.utils.tracker import log_point, tracked
from reverse_codi.verbalize.config import FILE as VERBALIZER_FILE
from reverse_codi.verbalize.config import VerbalizerConfig
from reverse_codi.verbalize.greedy import engine_config, greedy
from reverse_codi.verbalize.policy import Policy
from reverse_codi.verbalize.scores import Scored, score
from reverse_codi.verbalize.self_generated_cot import (
    SelfGeneratedCot,
    candidates,
    nearest_steps,
    self_generated_cot,
)
from reverse_codi.verbalize.thoughts import Thoughts, target_sites, thought_sites, thoughts_of
from reverse_codi.verbalize.warm_start import SftPairs, warm_start

ENCODED_FILE = "encoded_steps.json"
# Minimal pairs of training problems that say which thoughts are causally active.
SWAPPED_PAIRS = 300


@dataclass
class Prepared:
    """Everything that training and evaluation share.

    Attributes:
        reasoner: the frozen model.
        train: training traces.
        own: what each training trace says without labels; None where no one needs it.
        claims: what each training trace is taken to say: its gold steps or its own.
        heldout: held-out traces.
        sites: the thoughts h0..h(K-1), or the answer.
        encoded: which steps each site holds.
        metric: reader and maps.
        folder: where `maps.safetensors` and `encoded_steps.json` lie.
    """

    reasoner: CodiReasoner
    train: TraceStore
    own: SelfGeneratedCot | None
    claims: list[list[str]]
    heldout: TraceStore
    sites: list[Site]
    encoded: EncodedSteps
    metric: ThoughtMetric
    folder: Path

    def thoughts(self, split: Split, active_only: bool) -> Thoughts:
        """The thoughts of one side."""
        if split is Split.TRAIN:
            return thoughts_of(self.train, self.sites, self.encoded, active_only, self.claims)
        return thoughts_of(self.heldout, self.sites, self.encoded, active_only)


def open_traces(
    recipe: Recipe, reasoner: CodiReasoner, split: Split, n: int, seed: int, out: str, console: Console
) -> TraceStore:
    """Collect traces into `out`, or go on with, or open, what is there."""
    return collect(
        reasoner,
        recipe.task.build(),
        split=split,
        n=n,
        seed=seed,
        out=out,
        shard_rows=recipe.trace.shard_rows,
        batch_size=recipe.trace.batch_size,
        recipe_hash=recipe.trace_hash,
        console=console,
        on_bad=recipe.trace.on_bad_question,
        writes=needs_self_generated_cot(recipe),
    )


def trace_both(recipe: Recipe, reasoner: CodiReasoner, console: Console) -> tuple[TraceStore, TraceStore]:
    """The training traces, and the held-out ones beside them."""
    section = recipe.trace
    return (
        open_traces(recipe, reasoner, Split.TRAIN, section.n, section.seed, section.out, console),
        open_traces(
            recipe,
            reasoner,
            Split.HELDOUT,
            section.n_heldout,
            section.seed,
            f"{section.out}-heldout",
            console,
        ),
    )


def prepare(recipe: Recipe, out: Path, console: Console) -> Prepared:
    """Traces, probes and maps; what a former run left in `out` is used again."""
    reasoner = load_reasoner(recipe.reasoner)
    train, heldout = trace_both(recipe, reasoner, console)
    sites = target_sites(recipe.reading.spec.target, reasoner.n_thoughts)
    if ANSWER in sites:
        train, heldout = (traces.with_answer_states(reasoner) for traces in (train, heldout))
    own = (
        self_generated_cot(reasoner, train, Path(recipe.trace.out), console)
        if needs_self_generated_cot(recipe)
        else None
    )
    claims = own.claims if own and recipe.reading.fit_on == "written" else train.claims
    folder = out / "reading"
    inputs = {
        "reading": recipe.reading.model_dump(mode="json"),
        "task": recipe.task.model_dump(mode="json"),
        "traces": train.identity,
    }
    if not finished(folder, inputs, (MAPS_FILE, ENCODED_FILE)):
        record(folder, inputs)
        fit_reading(recipe, reasoner, train, claims, own, sites, folder, console)
    encoded = EncodedSteps.from_json((folder / ENCODED_FILE).read_text())
    metric = ThoughtMetric.load(folder, reasoner)
    return Prepared(reasoner, train, own, claims, heldout, sites, encoded, metric, folder)


def needs_self_generated_cot(recipe: Recipe) -> bool:
    """Whether maps or warm start are made from the model's self-generated CoT."""
    return recipe.reading.fit_on == "written" or recipe.warm_start.kind != "gold"


def fit_reading(
    recipe: Recipe,
    reasoner: CodiReasoner,
    train: TraceStore,
    claims: list[list[str]],
    own: SelfGeneratedCot | None,
    sites: list[Site],
    folder: Path,
    console: Console,
) -> None:
    """Find which steps each site holds, fit the maps, and write both to `folder`."""
    console.print("probing which steps each thought holds")
    n = min(len(train), recipe.reading.traces or len(train))
    probed = {site: train.vectors(site)[:n] for site in thought_sites(reasoner.n_thoughts)}
    moved = moved_by_swaps(reasoner, recipe.task.build(), recipe.trace.seed)
    encoded = find_encoded_steps(probed, claims[:n], recipe.reading.encoded_threshold, moved=moved)
    console.print("fitting the maps from read texts to thoughts")
    again = [row for row in own.disagreeing if row < n] if own and claims is own.claims else []
    rows = [*range(n), *again * (recipe.reading.disagreeing - 1)]
    reader = Reader(reasoner, recipe.reading.spec)
    claims = [claims[row] for row in rows]
    metric = fit_metric(reader, sites, encoded, train.select(rows), claims, recipe.reading.framed)
    metric.save(folder)
    write_whole(folder / ENCODED_FILE, encoded.to_json())


def moved_by_swaps(reasoner: CodiReasoner, task: Any, seed: int) -> dict[tuple[Site, int], float]:
    """Share of answers that each thought moves when it is swapped between minimal pairs; no label is used.

    Empty where the task makes no such pairs, or the model answers none of them.
    """
    if not hasattr(task, "minimal_pairs"):
        return {}
    return causal_activity(reasoner, task, task.minimal_pairs(Split.TRAIN, SWAPPED_PAIRS, seed)).moved()


def warm_texts(recipe: Recipe, prepared: Prepared, thoughts: Thoughts) -> list[str]:
    """Target texts of the warm start, in the order of `thoughts`."""
    if recipe.warm_start.kind == "gold":
        rows = zip(thoughts.sites, thoughts.problems, strict=True)
        return [prepared.encoded.text(site, prepared.train.claims[row]) for site, row in rows]
    assert prepared.own is not None  # by `needs_self_generated_cot`
    claims = prepared.own.texts(thoughts, prepared.encoded)
    if recipe.warm_start.kind == "written":
        return claims
    taught = prepared.train.select(range(max(thoughts.problems) + 1))
    own = candidates(
        prepared.reasoner, reasoner_folder(recipe.reasoner), recipe.warm_start, prepared.own, taught
    )
    return nearest_steps(thoughts, claims, taught, own, prepared.metric)


def taught_thoughts(recipe: Recipe, prepared: Prepared) -> Thoughts:
    """The thoughts of the warm start, those of disagreeing traces several times where no labels are used."""
    thoughts = prepared.thoughts(Split.TRAIN, active_only=False)
    section = recipe.warm_start
    rows = [row for row, p in enumerate(thoughts.problems) if not section.problems or p < section.problems]
    if section.kind != "gold" and prepared.own is not None:
        disagreeing = set(prepared.own.disagreeing)
        again = [row for row in rows if thoughts.problems[row] in disagreeing]
        rows += again * (section.disagreeing - 1)
    return thoughts.take(rows)


def new_contract(recipe: Recipe, prepared: Prepared) -> VerbalizerConfig:
    """The contract of a new verbalizer."""
    reasoner = prepared.reasoner
    return VerbalizerConfig(
        template=recipe.verbalizer.template,
        n_slots=reasoner.n_thoughts if ANSWER in prepared.sites else 1,
        n_vocab=reasoner.lm.get_input_embeddings().num_embeddings,
        reasoner_hash=reasoner.content_hash,
        tokenizer_hash=reasoner.tokenizer_hash,
        read_spec=prepared.metric.reader.spec.model_dump(mode="json"),
    )


def warm_policy(recipe: Recipe, prepared: Prepared, out: Path, console: Console) -> Policy:
    """The warm-started verbalizer: trained now, or loaded from `out` if a former run finished it."""
    folder = out / "warm"
    inputs = {
        "warm_start": recipe.warm_start.model_dump(mode="json", exclude={"eval_steps"}),
        "verbalizer": recipe.verbalizer.model_dump(mode="json"),
        "traces": prepared.train.identity,
        "reading": {name: file_hash(prepared.folder / name) for name in (MAPS_FILE, ENCODED_FILE)},
    }
    if finished(folder, inputs, (VERBALIZER_FILE,)):
        return Policy.load(folder, prepared.reasoner, trainable=True)
    record(folder, inputs)
    thoughts = taught_thoughts(recipe, prepared)
    policy = Policy.new(
        prepared.reasoner, recipe.verbalizer, new_contract(recipe, prepared), recipe.warm_start.seed
    )
    evaluate = heldout_scorer(recipe, prepared)
    console.print(f"warm start ({recipe.warm_start.kind}) on {len(thoughts):,} thoughts")
    curve: list[str] = []

    def point(step: int) -> None:
        figures = evaluate(policy).summary()
        curve.append(f"{step}," + ",".join(f"{value:.4f}" for value in figures.values()))
        log_point({f"heldout/{name}": value for name, value in figures.items()}, step)
        write_whole(out / "warm_curve.csv", "\n".join(["step," + ",".join(figures), *curve]) + "\n")
        console.print(f"warm start {step}: " + "  ".join(f"{k} {v:.3f}" for k, v in figures.items()))

    pairs = SftPairs(policy.verbalizer_config.inject(thoughts.slots), warm_texts(recipe, prepared, thoughts))
    with tracked(recipe.log, "warm start", console) as report_to:
        warm_start(
            policy.model,
            policy.embedding,
            policy.tokenizer,
            policy.verbalizer_config,
            pairs,
            recipe.warm_start,
            out / "sft",
            point,
            report_to,
        )
    policy.save(folder)
    return policy


def selection_thoughts(recipe: Recipe, prepared: Prepared) -> Thoughts:
    """The held-out causally active thoughts that curves show and the best checkpoint is chosen on."""
    thoughts = prepared.thoughts(Split.HELDOUT, active_only=True)
    return thoughts.take(range(min(len(thoughts), recipe.grpo.eval_thoughts)))


def heldout_scorer(recipe: Recipe, prepared: Prepared) -> Callable[[Policy], Scored]:
    """Greedy translations of held-out causally active thoughts, scored; for curves during training."""
    thoughts = selection_thoughts(recipe, prepared)
    config = engine_config(prepared.reasoner, max_sequences=len(thoughts))

    def evaluate(policy: Policy) -> Scored:
        engine = TransformersEngine(policy.model, config)
        texts = greedy(engine.generate, policy, thoughts.slots, recipe.grpo.max_new_tokens)
        return score(thoughts, texts, prepared.metric)

    return evaluate
