"""What the model itself says about a question, without labels: its written steps, its thoughts' answer."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from reverse_codi.errors import UserError
from reverse_codi.reading.claims import NO_STEP, EncodedSteps
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reading.reader import CachedReader
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.recipe.verbalizer import WarmStartSection
from reverse_codi.rollout.base import Sampling
from reverse_codi.rollout.transformers_engine import TransformersEngine
from reverse_codi.traces.store import TraceStore
from reverse_codi.verbalize.greedy import engine_config
from reverse_codi.verbalize.kept_claims import kept_claims
from reverse_codi.verbalize.targets import nearest_texts, prefixes, with_answer, written_claims
from reverse_codi.verbalize.thoughts import Thoughts

log = logging.getLogger(__name__)

FILE = "written_steps.json"


@dataclass(frozen=True)
class SelfGeneratedCot:
    """What training traces say without labels.

    Attributes:
        written: the steps that the model writes for each question in CoT mode.
        claims: the same, ending with the answer that the trace's thoughts gave.
    """

    written: list[list[str]]
    claims: list[list[str]]

    @staticmethod
    def of(written: list[list[str]], answers: list[str | None]) -> SelfGeneratedCot:
        """From the written steps and the thoughts' answers."""
        claims = [with_answer(claims, answer) for claims, answer in zip(written, answers, strict=True)]
        return SelfGeneratedCot(written, claims)

    def texts(self, thoughts: Thoughts, encoded: EncodedSteps) -> list[str]:
        """What `claims` makes of each thought: the steps that its site holds."""
        rows = zip(thoughts.sites, thoughts.problems, strict=True)
        return [encoded.text(site, self.claims[row]) for site, row in rows]

    @property
    def disagreeing(self) -> list[int]:
        """Traces whose answer is not that of the written steps."""
        return [row for row, claims in enumerate(self.claims) if claims != self.written[row]]


def self_generated_claims(reasoner: CodiReasoner, questions: list[str]) -> list[list[str]]:
    """Claims of the reasoner's own written solutions."""
    return written_claims(reasoner.write(questions))


def self_generated_cot(reasoner: CodiReasoner, traces: TraceStore, folder: Path) -> SelfGeneratedCot:
    """Let the reasoner write, and keep what it wrote beside the traces; what is there is not written again.

    Args:
        reasoner: who thought and writes.
        traces: N traces.
        folder: their store's folder.

    Raises:
        UserError: the file there is of other questions or another reasoner, or the model writes no steps.
    """
    questions = traces.questions

    def write(start: int, end: int) -> list[list[str]]:
        log.info(f"the model writes its steps for {end - start:,} questions")
        return self_generated_claims(reasoner, questions[start:end])

    written = kept_claims(folder / FILE, "written", reasoner, questions, write)
    if not any(written):
        raise UserError(
            f"the model wrote no step for any of {len(questions):,} questions, so they teach nothing; "
            "use gold ones: --reading.fit_on gold --warm_start.kind gold"
        )
    return SelfGeneratedCot.of(written, traces.answers)


def candidates(
    reasoner: CodiReasoner,
    section: WarmStartSection,
    own: SelfGeneratedCot,
    traces: TraceStore,
) -> list[list[str]]:
    """For each trace the runs of claims in the reasoner's own solutions, and no step.

    Each solution, greedy or sampled, also stands with the answer that the trace gave in place of its own.

    Args:
        reasoner: who writes; an engine that samples loads it from `reasoner.path`.
        section: how many solutions are sampled, and their seed.
        own: greedy solutions, of these traces first.
        traces: N traces.
    """
    solutions = [[claims] for claims in own.written[: len(traces)]]
    if section.samples:
        for row, text in _sampled(reasoner, section, traces.questions):
            solutions[row] += written_claims([text])
    return [
        list(
            dict.fromkeys(
                [*(run for claims in _both_ways(parsed, answer) for run in prefixes(claims)), NO_STEP]
            )
        )
        for parsed, answer in zip(solutions, traces.answers, strict=True)
    ]


def nearest_steps(
    thoughts: Thoughts,
    claims: Sequence[str],
    traces: TraceStore,
    candidates: Sequence[Sequence[str]],
    metric: ThoughtMetric,
) -> list[str]:
    """For each thought that of its trace's candidates which reads nearest to it.

    Some claim always reads nearest; a thought that holds none by the probes gets none. What the model's own
    steps say of a thought is left for another solution's by a margin only: among more solutions more wrong
    ones read a little nearer.

    Args:
        thoughts: M thoughts of the traces.
        claims: what the model's self-generated CoT say of each; "(no step)" where it holds none.
        traces: N traces.
        candidates: N lists of texts.
        metric: reads texts and compares.
    """
    cached = ThoughtMetric(CachedReader(metric.reader), metric.maps)  # most texts are asked for at every site
    by_site = {}
    for site in dict.fromkeys(thoughts.sites):
        first = [NO_STEP] * len(traces)
        for text, of, row in zip(claims, thoughts.sites, thoughts.problems, strict=True):
            if of == site:
                first[row] = text
        by_site[site] = nearest_texts(traces, site, candidates, cached, first)
    return [
        NO_STEP if text == NO_STEP else by_site[site][row]
        for text, site, row in zip(claims, thoughts.sites, thoughts.problems, strict=True)
    ]


def _both_ways(solutions: list[list[str]], answer: str | None) -> Iterator[list[str]]:
    """Each solution as it is, and with the trace's answer."""
    for claims in solutions:
        yield from (claims, with_answer(claims, answer))


def _sampled(
    reasoner: CodiReasoner, section: WarmStartSection, questions: list[str]
) -> Iterator[tuple[int, str]]:
    """Sampled written solutions, each with its question's row."""
    engine = TransformersEngine(reasoner.lm, engine_config(reasoner))
    sampling = Sampling(
        max_new_tokens=reasoner.config.max_written_tokens,
        seed=section.seed,
        stop_ids=(reasoner.tokenizer.eos_token_id,),
    )
    prompts = [reasoner.embed_question(question) for question in questions]
    for rollout in engine.generate(prompts, section.samples, sampling):
        yield rollout.prompt_index, reasoner.solution(rollout.token_ids.tolist())
