"""Where translating and solving part: wrong traces, swapped thoughts, and the chain handed back to the model.

A method that solves the problem from the question fails here and nowhere else.
"""

from __future__ import annotations

from reverse_codi.evaluation.counterfactual import implied_by
from reverse_codi.evaluation.eval_set import EvalSet, MinimalPairs
from reverse_codi.evaluation.metrics.content import implied_answer, stated
from reverse_codi.evaluation.suite.predictions import Predictions, by_trace
from reverse_codi.reading.interventions.causal_activity import swapped
from reverse_codi.reasoners.cot_mode import conclude
from reverse_codi.reasoners.sites import Site
from reverse_codi.tasks.answers import answer_of
from reverse_codi.tasks.claims import result_of
from reverse_codi.traces.store import TraceStore
from reverse_codi.utils import figures
from reverse_codi.utils.bootstrap import Interval
from reverse_codi.utils.figures import Figures
from reverse_codi.verbalize.thoughts import Thoughts


def wrong_traces(predictions: Predictions) -> Figures:
    """`faithful.wrong`: wrong traces whose translations imply the model's own answer; `.gold`: gold's."""
    traces = predictions.eval_set.wrong
    implied = [
        implied_answer(texts) for texts in by_trace(predictions.wrong, predictions.eval_set.wrong_thoughts)
    ]
    problems = range(len(traces))
    return {
        "faithful.wrong": figures.share(list(map(_answered, implied, traces.answers)), problems),
        "faithful.wrong.gold": figures.share(list(map(_answered, implied, traces.gold)), problems),
    }


def _answered(implied: str | None, answer: str | None) -> float:
    """Whether the implied result is the answer, or its class where the answer is a sentence."""
    return float(implied is not None and answer is not None and implied == result_of(answer))


def agreement(predictions: Predictions) -> Figures:
    """`cot.agree.right|wrong`: CoT mode, given question and chain, gives the answer that the thoughts gave.

    The answer cue follows the chain directly, so that the model cannot write the steps that a poor chain
    leaves out.
    """
    eval_set = predictions.eval_set
    rows = [row for row, right in enumerate(eval_set.right) if right]
    right = [by_trace(predictions.heldout, eval_set.thoughts)[row] for row in rows]
    return {
        "cot.agree.right": _agree(eval_set, eval_set.heldout.select(rows), right),
        "cot.agree.wrong": _agree(
            eval_set, eval_set.wrong, by_trace(predictions.wrong, eval_set.wrong_thoughts)
        ),
    }


def _agree(eval_set: EvalSet, traces: TraceStore, texts: list[list[str]]) -> Interval:
    reasoner, task = eval_set.context.reasoner, eval_set.context.task
    chains = [" ".join(t.strip() for t in of_trace if stated(t).results) for of_trace in texts]
    answers = [answer_of(reasoner, task, output) for output in conclude(reasoner, traces.questions, chains)]
    same = [float(a is not None and a == own) for a, own in zip(answers, traces.answers, strict=True)]
    return figures.share(same, range(len(traces)))


def swaps(predictions: Predictions) -> Figures:
    """`faithful.swap`: the translation of a thought swapped in from a minimal pair names the donor's value.

    `faithful.swap_next`: the translation of the model's next own thought names what its next step makes of
    that value. The question does not contain this number.
    """
    pairs = predictions.eval_set.pairs
    if pairs is None:
        return {}
    own: list[tuple[int, float]] = []
    after: list[tuple[int, float]] = []
    for site in predictions.eval_set.context.sites:
        k = site.index
        rows = [row for row in range(len(pairs)) if _differ(predictions.eval_set, pairs, row, k)]
        if not rows:
            continue
        questions = [pairs.recipients[row].question for row in rows]
        texts = predictions.write(_thoughts(pairs, rows, site, questions))
        values = [result_of(pairs.donors[row].claims[k]) for row in rows]
        own += [(row, _names(text, value)) for row, text, value in zip(rows, texts, values, strict=True)]
        if k + 1 < predictions.eval_set.context.reasoner.n_thoughts:
            after += _next(predictions, pairs, rows, k, values)
    return {
        "faithful.swap": figures.share([hit for _, hit in own], [row for row, _ in own]),
        "faithful.swap_next": figures.share([hit for _, hit in after], [row for row, _ in after]),
    }


def _differ(eval_set: EvalSet, pairs: MinimalPairs, row: int, k: int) -> bool:
    """Whether thought k encodes only step k on both sides, results differ, and both answers are right."""
    one, other = pairs.recipients[row], pairs.donors[row]
    encoded = eval_set.context.encoded.steps(Site("h", k), len(one.claims))
    right = pairs.answers[row] == one.answer and pairs.donor_answers[row] == other.answer
    return right and encoded == [k] and result_of(one.claims[k]) != result_of(other.claims[k])


def _names(text: str, value: str) -> float:
    return float(stated(text).results == (value,))


def _thoughts(pairs: MinimalPairs, rows: list[int], site: Site, questions: list[str]) -> Thoughts:
    """The donors' thoughts at `site`, under the recipients' questions."""
    return Thoughts(
        slots=pairs.donor_chains.latent_inputs[rows, site.index, None],
        targets=pairs.donor_chains.at(site)[rows],
        sites=[site] * len(rows),
        problems=rows,
        questions=questions,
        gold=[f"{pairs.donors[row].claims[site.index]}." for row in rows],
        claims=[pairs.recipients[row].claims for row in rows],
        answers=[pairs.answers[row] for row in rows],
    )


def _next(
    predictions: Predictions, pairs: MinimalPairs, rows: list[int], k: int, values: list[str]
) -> list[tuple[int, float]]:
    """Translations of thought k + 1 after thought k was swapped, against what the next step then gives."""
    site = Site("h", k + 1)
    expected = {}
    for row, value in zip(rows, values, strict=True):
        claims = pairs.recipients[row].claims[: k + 2]
        true = pairs.donors[row].claims
        if len(claims) == k + 2 and (result := implied_by(claims, k, value, true)) is not None:
            expected[row] = result
    chosen = list(expected)
    if not chosen:
        return []
    questions = [pairs.recipients[row].question for row in chosen]
    chains = swapped(
        predictions.eval_set.context.reasoner, questions, pairs.donor_chains.latent_inputs[chosen], k
    )
    thoughts = Thoughts(
        slots=chains.latent_inputs[:, k + 1, None],
        targets=chains.hidden_states[:, k + 1],
        sites=[site] * len(chosen),
        problems=chosen,
        questions=questions,
        gold=[f"{pairs.recipients[row].claims[k + 1]}." for row in chosen],
        claims=[pairs.recipients[row].claims for row in chosen],
        answers=[pairs.answers[row] for row in chosen],
    )
    texts = predictions.write(thoughts)
    return [(row, _names(text, expected[row])) for row, text in zip(chosen, texts, strict=True)]
