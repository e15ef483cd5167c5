"""What the thoughts themselves hold and do: the same for every method, and the ceiling of most figures."""

from __future__ import annotations

import random

from reverse_codi.evaluation.counterfactual import near_claims
from reverse_codi.evaluation.eval_set import EvalContext, EvalSet
from reverse_codi.evaluation.metrics.content import gold_stated
from reverse_codi.evaluation.suite.content import STEPS, EncodedStep, encoded_steps, lens_hits
from reverse_codi.reading.interventions.causal_activity import causal_activity
from reverse_codi.reading.interventions.diagnostics import early_decoding, step_ablation
from reverse_codi.reading.interventions.replace import Moments
from reverse_codi.reading.probes import Probe
from reverse_codi.reasoners.sites import Site
from reverse_codi.tasks.claims import Belonging, parse_belongings, result_of
from reverse_codi.tasks.equations import parse_equations
from reverse_codi.tasks.numbers import whole_number
from reverse_codi.tasks.spellings import numbers_in
from reverse_codi.traces.store import TraceStore
from reverse_codi.utils import figures
from reverse_codi.utils.figures import Figures

OPERATORS = "+-*/%"


def lens(eval_set: EvalSet) -> Figures:
    """`lens_top1.K`, `lens_top5.K`: the gold result of step K among the lens's tokens; right traces.

    Of a result of several tokens the first one counts (`reading.lens_names`). `.whole` leaves those results
    out. `shuffled_top5.K`: the same as `lens_top5.K` with another problem's thought of the same site.
    """
    names = eval_set.context.lens_names
    encoded = [h for h in encoded_steps(eval_set) if h.right and not h.last]
    hits = lens_hits(eval_set, encoded)
    found = {}
    for k in range(STEPS):
        rows = [i for i, h in enumerate(encoded) if h.step == k]
        problems = [eval_set.thoughts.problems[encoded[i].row] for i in rows]
        for name, hit in hits.items():
            found[f"{name}.{k + 1}"] = figures.share([hit[i] for i in rows], problems)
            whole = [i for i in rows if not names.leading(result_of(_claim(eval_set, encoded[i])))]
            found[f"{name}.{k + 1}.whole"] = figures.share(
                [hit[i] for i in whole], [eval_set.thoughts.problems[encoded[i].row] for i in whole]
            )
        thoughts = eval_set.thoughts.take([encoded[i].row for i in rows])
        tokens = eval_set.context.lens(thoughts.targets.roll(1, 0)) if rows else []
        results = [gold_stated([claims[k]]).results for claims in thoughts.claims]
        shuffled = [float(bool(r) and names.hit(t, r[0], 5)) for t, r in zip(tokens, results, strict=True)]
        found[f"shuffled_top5.{k + 1}"] = figures.share(shuffled, problems)
    return found


def _claim(eval_set: EvalSet, of: EncodedStep) -> str:
    return eval_set.thoughts.claims[of.row][of.step]


def likelihood(eval_set: EvalSet) -> Figures:
    """`likelihood.number|operation`: the thought is likelier given its gold step than given a changed one.

    The likelihood is Gaussian around the predicted thought (`ThoughtMetric.distance`). `number` replaces the
    gold step by that of a minimal pair. `result` replaces the result, so that the claim is false. `operation`
    applies another operation to the same numbers. In a sentence, `result` and `subject` are replaced by
    others that the question names. Kinds without a possible change are left out.
    """
    rng = random.Random(eval_set.seed)
    metric, thoughts = eval_set.context.metric, eval_set.thoughts
    single = [row for row in eval_set.active if len(eval_set.steps_encoded[row]) == 1 and eval_set.whole(row)]
    pairs: dict[str, list[tuple[int, str]]] = {"number": [], "result": [], "operation": [], "subject": []}
    for row in single:
        claim = thoughts.claims[row][eval_set.steps_encoded[row][0]]
        if parsed := parse_belongings(claim):
            for name, near in _exchanged(parsed[0], thoughts.questions[row]).items():
                pairs[name] += [(row, rng.choice(near))] if near else []
            continue
        if near := near_claims(claim, eval_set.context.knows):
            pairs["number"].append((row, rng.choice(near[:8])))
        if not (equations := parse_equations(claim)):  # a partial claim, or a sentence in free words
            continue
        equation = equations[0]
        if not equation.right.startswith("-") and whole_number(equation.right):
            right = next(numbers_in(equation.right))
            moved = [right.value + d * right.unit for d in (-3, -2, -1, 1, 2, 3)]
            wrong = [f"{equation.left} = {right.respelled(r)}" for r in moved if r >= 0]
            if wrong := [text for text in wrong if eval_set.context.knows(text)]:
                pairs["result"].append((row, rng.choice(wrong)))
        if len(equation.operators) == 1 and equation.left.count(" ") == 2:
            a, operator, b = equation.left.split(" ")
            other = rng.choice([o for o in OPERATORS if o != operator])
            pairs["operation"].append((row, f"{a} {other} {b} = {equation.right}"))
    found = {}
    for name, changed in pairs.items():
        if not changed:
            continue
        chosen = thoughts.take([row for row, _ in changed])
        gold = eval_set.predicted(chosen, chosen.gold)
        others = eval_set.predicted(chosen, [f"{claim}." for _, claim in changed])
        nearer = metric.distance(chosen.targets, gold, chosen.sites) < metric.distance(
            chosen.targets, others, chosen.sites
        )
        found[f"likelihood.{name}"] = figures.share(nearer.double(), chosen.problems)
    return found


def _exchanged(claim: Belonging, question: str) -> dict[str, list[str]]:
    """Claims with another result, and with another subject, that the question names."""
    near = claim.near(question)
    return {
        "result": [other.claim for other in near if other.subject == claim.subject],
        "subject": [other.claim for other in near if other.result == claim.result],
    }


def activity(eval_set: EvalSet) -> Figures:
    """`active.SITE.N`: share of minimal pairs of N steps whose answer changes when the thought is swapped.

    `active.encoded`: share of held-out thoughts where probes (encodes a step) and swaps (changes the answer)
    agree.
    """
    if eval_set.pairs is None:
        return {}
    pairs = list(zip(eval_set.pairs.recipients, eval_set.pairs.donors, strict=True))
    measured = causal_activity(eval_set.context.reasoner, eval_set.context.task, pairs)
    found = {
        f"active.{site}.{n}": figures.share(swaps.moved, range(len(swaps.moved)))
        for (site, n), swaps in sorted(measured.swaps.items())
    }
    moving, active = measured.active(), set(eval_set.active)
    same = [
        float((row in active) == ((site, len(claims)) in moving))
        for row, (site, claims) in enumerate(
            zip(eval_set.thoughts.sites, eval_set.thoughts.claims, strict=True)
        )
    ]
    return found | {"active.encoded": figures.share(same, eval_set.thoughts.problems)}


def error_ceiling(eval_set: EvalSet) -> Figures:
    """`ceiling.wrong`: wrong traces whose own answer a linear probe reads off the last active thought.

    It reads the latent input, as the verbalizer does; the projection makes the answer more linear. The probes
    are trained on the answers that training traces gave. What they cannot read, the model decides after its
    thoughts, and no translation of thoughts can state it.
    """
    context = eval_set.context
    hits = []
    for site in context.sites:
        train = _ending_at(context, context.train, site)
        wrong = _ending_at(context, eval_set.wrong, site)
        if train and wrong:
            answers = [str(context.train.answers[row]) for row in train]
            probe = Probe.fit(context.train.latent_inputs[train, site.index], answers)
            labels = probe.predict(eval_set.wrong.latent_inputs[wrong, site.index])
            own = [eval_set.wrong.answers[row] for row in wrong]
            hits += [float(label == answer) for label, answer in zip(labels, own, strict=True)]
    return {"ceiling.wrong": figures.share(hits, range(len(hits)))}


def _ending_at(context: EvalContext, traces: TraceStore, site: Site) -> list[int]:
    """Traces whose last causally active thought is at `site`."""
    lengths = [len(claims) for claims in traces.claims]
    active = {n: [s for s in context.sites if context.encoded.holds(s, n)] for n in set(lengths)}
    return [row for row, n in enumerate(lengths) if active[n][-1:] == [site]]


def diagnostics(eval_set: EvalSet) -> Figures:
    """`ablated.SITE`: answers kept with one thought at its mean; `early.M`: given after M thoughts."""
    traced = eval_set.traced
    reasoner, task = eval_set.context.reasoner, eval_set.context.task
    problems = range(len(traced))
    kept = step_ablation(reasoner, task, traced, Moments.of(eval_set.context.train.latent_inputs).mean)
    early = early_decoding(reasoner, task, traced.questions, traced.answers)
    found = {f"ablated.{Site('h', k)}": figures.share(kept[:, k], problems) for k in range(kept.shape[1])}
    return found | {f"early.{m}": figures.share(early[:, m], problems) for m in range(early.shape[1])}
