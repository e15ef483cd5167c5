"""Does the model still give its answer when the thought is replaced by what the text stands for?

A thought is what the model goes on from, so a true translation can stand in for it (swapped thoughts:
LessWrong, Cywinski et al.; replaced ones: measured). The text's predicted thought is fed in place of the
thought, later thoughts are thought anew, and the answer is compared with the model's own, right or wrong.

Alone that is won by a text that tells the final answer, and by any text at a thought that nothing depends
on. So a row counts only where the answer is lost with each of five controls in the thought's place: the
site's mean, the empty text, and the answer alone, in three wordings. They are the same for all texts of a
thought, so no text can choose to be counted.

Measured on the embedded reasoner (150 held-out problems, 382 thoughts that encode a step, 243 of them
counted): the right claim keeps .99 of the answers, another problem's .02, a constant one .02, no step .03,
the claim cut before its result .09, with another result .26, with shuffled words .16; of other ways to tell
the answer "= 36" keeps .08, "36 + 0 = 36." .03, "36 36 36" none. Other operands with the same result keep
.90: the model goes on from the result, so the causal test is sensitive to nothing else; put `contrastive`
beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from reverse_codi import RewardBatch, reward
from reverse_codi.reading.interventions.replace import only
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.base import Patch, Reasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.tasks.answers import Answering, stated_text

# A lost answer is 0. A failed text was not even tried.
WORST = -1.0
# Texts that are controls, filled from the model's own answer. The last is the answer as a claim: a reader
# that is sensitive to numbers by their place may take it for the result of one.
CONTROLS = ("", "{output}", "{answer}", "{answer} = {answer}.")


@reward(worst=WORST)
def answer_preserved(batch: RewardBatch) -> list[float | None]:
    """1 where the answer survives the text in the thought's place, 0 where not; None where a control does.

    None too for what is never fed: the last hidden state, the state at the answer cue, a layer's state.
    """
    reasoner = batch.reasoner
    thoughts = list(zip(batch.questions, batch.sites, strict=True))
    latent_inputs = [
        thought for thought in dict.fromkeys(thoughts) if is_fed(thought[1], reasoner.n_thoughts)
    ]
    answer_of = own_answers(reasoner, batch.metric, latent_inputs)
    rows = [row for row, thought in enumerate(thoughts) if thought in answer_of]
    found = answers_with(reasoner, [thoughts[row] for row in rows], batch.predicted[rows])
    values: list[float | None] = [None] * len(batch)
    for row, answer in zip(rows, found, strict=True):
        values[row] = float(answer == answer_of[thoughts[row]])
    batch.log("counted", len(rows) / len(batch))
    return values


def is_fed(site: Site, n_thoughts: int) -> bool:
    """Whether this is one of the K thoughts: what the model goes on from."""
    return site.kind in ("h", "z") and site.layer is None and site.index < n_thoughts


def own_answers(
    reasoner: Reasoner, metric: ThoughtMetric, thoughts: Sequence[tuple[str, Site]]
) -> dict[tuple[str, Site], str]:
    """The model's own answer by thought (question and site), for those where every control loses it."""
    if not thoughts:
        return {}
    questions, sites = zip(*thoughts, strict=True)
    distinct = list(dict.fromkeys(questions))
    outputs = dict(zip(distinct, reasoner.think(distinct).outputs, strict=True))
    own = {thought: answer_in(reasoner, outputs[thought[0]]) for thought in thoughts}
    controls = [torch.stack([metric.map_of(site).mean for site in sites])]
    for wording in CONTROLS:
        texts = [wording.format(output=outputs[t[0]], answer=own[t]) for t in thoughts]
        controls.append(metric.predict(texts, sites, questions))
    kept: set[tuple[str, Site]] = set()
    for control in controls:
        answers = answers_with(reasoner, thoughts, control)
        kept |= {t for t, answer in zip(thoughts, answers, strict=True) if answer == own[t]}
    return {thought: answer for thought, answer in own.items() if thought not in kept}


def answers_with(reasoner: Reasoner, thoughts: Sequence[tuple[str, Site]], stand_ins: Tensor) -> list[str]:
    """What the model answers with `stand_ins` [N, d] in place of N thoughts; later ones are thought anew."""
    if not thoughts:
        return []
    latent_inputs = torch.zeros(len(thoughts), reasoner.n_thoughts, reasoner.width)
    projected = reasoner.project(stand_ins)
    for row, (_, site) in enumerate(thoughts):
        latent_inputs[row, site.index] = projected[row] if site.kind == "h" else stand_ins[row]
    patch = Patch(latent_inputs, only([site.index for _, site in thoughts], reasoner.n_thoughts))
    outputs = reasoner.think([question for question, _ in thoughts], patch).outputs
    return [answer_in(reasoner, output) for output in outputs]


def answer_in(reasoner: Answering, output: str) -> str:
    """The words of the answer that an output of the reasoner states; all of it where it states none."""
    stated = stated_text(output, reasoner.answer_cue)
    return output.strip() if stated is None else stated
