"""From questions to rows: what each thought says, how well, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Sequence

from reverse_codi.evaluation.select import slots_at
from reverse_codi.reading.affine import trust
from reverse_codi.reading.lens import lens
from reverse_codi.reading.measure import Measure
from reverse_codi.sites import ANSWER
from reverse_codi.translations.record import Translation
from reverse_codi.verbalizer.translate import Translator


def translate(
    translator: Translator,
    measure: Measure,
    questions: Sequence[str],
    samples: int = 0,
) -> list[list[Translation]]:
    """Everything that the maps know how to read, question by question.

    Args:
        translator: verbalizer and engine.
        measure: reads the texts.
        questions: N questions.
        samples: candidates beside the greedy text, reranked by the reader.
    """
    reasoner = translator.reasoner
    chains = reasoner.think(questions)
    rows: list[list[Translation]] = [[] for _ in questions]
    for site in measure.sites:
        slots = slots_at(chains.fed, site)
        targets = reasoner.answer_states(questions) if site == ANSWER else chains.at(site)
        sites = [site] * len(questions)
        texts = (
            translator.reranked(slots, samples, targets, sites, questions, measure)
            if samples
            else translator.greedy(slots)
        )
        predicted = measure.predict(texts, sites, questions)
        match = measure.match(targets, predicted, sites).tolist()
        trusted = trust(measure.map_of(site), targets, predicted).tolist()
        tops = lens(reasoner, targets)
        for i, question in enumerate(questions):
            rows[i].append(
                Translation(question, str(site), texts[i], match[i], trusted[i], tops[i], chains.outputs[i])
            )
    return rows
