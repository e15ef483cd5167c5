from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from reverse_codi.errors import UserError
from reverse_codi.reading.affine import AffineMap, trust
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reading.reader import Reader
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import ANSWER, Site
from reverse_codi.recipe.reading import Prefix, ReadSpec
from reverse_codi.traces.store import TraceStore
from reverse_codi.verbalize.translations.given import Given, given_vectors, stored, thought_now
from reverse_codi.verbalize.translations.record import NO_QUESTION, Translation
from reverse_codi.verbalize.translations.reference_texts import reference_texts
from reverse_codi.verbalize.translations.translate import translate
from reverse_codi.verbalize.translations.vectors import Vectors
from reverse_codi.verbalize.translator import Translator
from tests.tiny import make_problems, make_tiny_metric

H = Site("h", 0)


@pytest.fixture(scope="module")
def translator(
    tiny_reasoner: CodiReasoner, tiny_folders: tuple[Path, Path], tiny_verbalizer: Path
) -> Translator:
    return Translator(tiny_reasoner, tiny_verbalizer, max_new_tokens=6)


class Says(Translator):
    """Gives each thought the text that a function makes of its vector."""

    def __init__(self, reasoner: CodiReasoner, text: Callable[[Tensor], str]) -> None:
        self.reasoner = reasoner
        self.text = text

    def greedy(self, slots: Tensor) -> list[str]:
        return [self.text(vectors[0]) for vectors in slots]


def translated(writer: Translator, metric: ThoughtMetric, given: Given) -> list[list[Translation]]:
    """Rows by a writer who has said what it says of the references."""
    return translate(writer, metric, reference_texts(writer, metric), given)


def make_vectors(values: Tensor, *sites: str) -> Vectors:
    """Vectors [N, K, d] of a file."""
    unknown: list[str | None] = [None] * len(values)
    return Vectors(Path("x.npy"), values, [Site.parse(site) for site in sites], unknown, unknown)


def test_every_thought_of_every_question_is_translated(
    tiny_reasoner: CodiReasoner, tiny_verbalizer: Path, translator: Translator
) -> None:
    metric = ThoughtMetric.load(tiny_verbalizer, tiny_reasoner)
    questions = [p.question for p in make_problems(4)]
    rows = translated(translator, metric, thought_now(tiny_reasoner, questions, metric))
    chains = tiny_reasoner.think(questions)
    assert [[row.site for row in of_question] for of_question in rows] == [["h0", "h1", "h2"]] * 4
    for k in range(3):
        assert [of[k].translation for of in rows] == translator.greedy(chains.latent_inputs[:, k, None])
    row, site = rows[2][1], metric.sites[1]
    predicted = metric.predict([row.translation], [site])
    wanted = metric.match(chains.hidden_states[2:3, 1], predicted, [site]).item()
    assert row.match == pytest.approx(wanted, abs=1e-4)
    assert (row.question, row.answer, row.source) == (questions[2], chains.outputs[2], None)


def test_sampled_texts_come_back_to_their_own_thought(translator: Translator) -> None:
    slots = torch.randn(3, 1, 32, generator=torch.Generator().manual_seed(0))
    together = translator.sampled(slots, 4)
    assert [len(texts) for texts in together] == [4, 4, 4]
    assert together == translator.sampled(slots, 4)


def test_hidden_states_are_translated_by_their_latent_inputs_and_scored(
    tiny_reasoner: CodiReasoner, tiny_metric: ThoughtMetric, translator: Translator
) -> None:
    questions = [p.question for p in make_problems(4)]
    chains = tiny_reasoner.think(questions)
    thinking = translated(translator, tiny_metric, thought_now(tiny_reasoner, questions, tiny_metric))
    given = given_vectors(
        make_vectors(chains.hidden_states[:, [2, 0]], "h2", "h0"), tiny_reasoner, tiny_metric
    )
    for row, of_question in zip(translated(translator, tiny_metric, given), thinking, strict=True):
        for one, k in zip(row, (2, 0), strict=True):
            known = of_question[k]
            assert (one.site, one.translation, one.lens) == (known.site, known.translation, known.lens)
            assert one.match == pytest.approx(known.match, abs=1e-4)
            assert one.question is None and one.answer is None


def test_where_hidden_states_are_inputs_a_latent_input_is_scored_too(
    tiny_reasoner: CodiReasoner, tiny_metric: ThoughtMetric
) -> None:
    reasoner = tiny_reasoner
    z = torch.randn(2, 1, 32, generator=torch.Generator().manual_seed(0))
    assert given_vectors(make_vectors(z, "z1"), reasoner, tiny_metric).targets == {}

    config = replace(reasoner.config, projection_width=0)
    coconut = CodiReasoner(reasoner.model, reasoner.tokenizer, config)
    given = given_vectors(make_vectors(z, "z1"), coconut, tiny_metric)
    assert torch.equal(given.targets[Site("z", 1)], z[:, 0])
    rows = translated(Says(reasoner, lambda vector: "12 + 5 = 17."), tiny_metric, given)
    predicted = tiny_metric.predict(["12 + 5 = 17."] * 2, [Site("h", 1)] * 2)
    match = tiny_metric.match(z[:, 0], predicted, [Site("h", 1)] * 2).tolist()
    assert [row[0].match for row in rows] == pytest.approx(match, abs=1e-4)


def test_unknown_thoughts_are_refused(tiny_reasoner: CodiReasoner, tiny_metric: ThoughtMetric) -> None:
    with pytest.raises(UserError, match=r"site h3: .* choose from: h0 z0 h1 z1 h2 z2"):
        given_vectors(make_vectors(torch.zeros(1, 1, 32), "h3"), tiny_reasoner, tiny_metric)


def test_without_a_question_texts_that_are_read_after_it_are_not_scored(
    tiny_reasoner: CodiReasoner, translator: Translator
) -> None:
    metric = make_tiny_metric(tiny_reasoner, ReadSpec(prefix=Prefix.QUESTION), n=16)
    given = given_vectors(make_vectors(torch.randn(2, 1, 32), "h0"), tiny_reasoner, metric)
    given = replace(given, slots={H: torch.ones(2, 1, 32)})  # no reference gets these texts
    writer = Says(tiny_reasoner, lambda z: "1 + 1 = 2." if bool((z == 1).all()) else "2 + 2 = 4.")
    [row], _ = translated(writer, metric, given)
    assert row.match is row.trust is row.trusted is None and row.reason == NO_QUESTION
    assert row.lens is not None


def trusted(
    reasoner: CodiReasoner, metric: ThoughtMetric, text: Callable[[Tensor], str]
) -> list[Translation]:
    """Rows of the site's own references, which the texts are meant for."""
    given = given_vectors(make_vectors(metric.map_of(H).reference[:40, None], "h0"), reasoner, metric)
    return [row for [row] in translated(Says(reasoner, text), metric, given)]


def test_one_text_for_every_thought_earns_no_trust_and_others_do(tiny_reasoner: CodiReasoner) -> None:
    """Thoughts whose true text is known: the prediction of one claim each, and a little noise."""
    problems = make_problems(96, seed=5)
    claims = list(dict.fromkeys(f"{p.claims[-1]}." for p in problems))[:64]
    reader = Reader(tiny_reasoner, ReadSpec())
    features = reader.features(claims)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(features.shape[1], 32, generator=generator) / features.shape[1] ** 0.5
    thoughts = features @ weight
    thoughts = thoughts + 0.05 * thoughts.std(0) * torch.randn(thoughts.shape, generator=generator)
    map_ = AffineMap.fit(features, thoughts, 0.1)
    metric = ThoughtMetric(reader, {H: map_})
    latent_inputs = tiny_reasoner.project(map_.reference)
    own = {tuple(z.tolist()): claim for z, claim in zip(latent_inputs, claims, strict=True)}
    right = trusted(tiny_reasoner, metric, lambda z: own[tuple(z.tolist())])
    assert sum(row.trusted is True for row in right) > 0.9 * len(right)

    # The text nearest to most: by matches alone some of its rows look trustworthy.
    matches = map_.match(map_.reference[None], map_.predict(features)[:, None])  # [texts, thoughts]
    constant = claims[int((matches > 0).sum(1).argmax())]
    rows = trusted(tiny_reasoner, metric, lambda z: constant)
    predicted = metric.predict([constant] * len(rows), [H] * len(rows))
    alone = trust(map_, map_.reference[: len(rows)], predicted)
    assert (alone >= 0.9).any()
    assert all(row.trusted is False and row.trust == 0 and row.shared == 1 for row in rows)

    # A few texts for all, none of which says anything of its thought.
    few = trusted(tiny_reasoner, metric, lambda z: claims[int(z[0] > z[1]) + 2 * int(z[2] > z[3])])
    assert not any(row.trusted for row in few)

    # "(no step)" of a thought that lies elsewhere is right where thoughts with a step get another text.
    silent = trusted(tiny_reasoner, metric, lambda z: "(no step)")
    assert all(row.trusted is False and row.shared == 1 for row in silent)
    elsewhere = map_.predict(reader.features(["(no step)"]))
    given = given_vectors(make_vectors(elsewhere[None], "h0"), tiny_reasoner, metric)
    writer = Says(tiny_reasoner, lambda z: own.get(tuple(z.tolist()), "(no step)"))
    [[row]] = translated(writer, metric, given)
    assert (row.translation, row.shared, row.trusted) == ("(no step)", 0, True)


def test_stored_traces_of_a_verbalizer_of_whole_traces_are_scored_after_the_stored_thoughts(
    tiny_reasoner: CodiReasoner, tiny_traces: TraceStore, tiny_metric: ThoughtMetric
) -> None:
    store = tiny_traces.select(range(12))
    states = tiny_reasoner.answer_states(store.questions)
    features = tiny_metric.reader.features([f"{claims[-1]}." for claims in store.claims])
    metric = ThoughtMetric(tiny_metric.reader, {ANSWER: AffineMap.fit(features, states, 0.1)})
    given = stored(store, "traces", tiny_reasoner, metric)
    assert torch.equal(given.slots[ANSWER], store.latent_inputs)
    torch.testing.assert_close(given.targets[ANSWER], states)
    rows = translated(Says(tiny_reasoner, lambda z: "12 + 5 = 17."), metric, given)
    assert [row.shared for [row] in rows] == [1.0] * 12
    assert not any(row.trusted for [row] in rows)
    two = stored(store.select([0, 1]), "traces", tiny_reasoner, metric)
    rows = translated(Says(tiny_reasoner, lambda z: "12 + 5 = 17."), metric, two)
    assert [row.shared for [row] in rows] == [None, None]  # two traces say little of a writer
    z = make_vectors(store.latent_inputs, "z0", "z1", "z2")
    alone = given_vectors(z, tiny_reasoner, metric)
    assert torch.equal(alone.slots[ANSWER], store.latent_inputs) and alone.targets == {}
    asked = given_vectors(replace(z, questions=list(store.questions)), tiny_reasoner, metric)
    torch.testing.assert_close(asked.targets[ANSWER], states)
    with pytest.raises(UserError, match=r"give z0\.\.z2 or h0\.\.h2 side by side, not z0"):
        given_vectors(make_vectors(store.latent_inputs[:, :1], "z0"), tiny_reasoner, metric)
