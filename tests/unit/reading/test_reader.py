from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from reverse_codi.reading import reader as module
from reverse_codi.reading.reader import Reader, ReadingError
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.recipe.reading import Point, Prefix, ReadSpec
from tests.fakes import WatchedReasoner

TEXTS = ["12 + 5 = 17.", "3 * 4 = 12. 12 - 5 = 7.", " 12 + 5 = 17. ", "", "(no step)"]


def test_distinct_texts_are_read_once_and_put_back_in_order(tiny_reasoner: CodiReasoner) -> None:
    watched = WatchedReasoner(tiny_reasoner)
    features = Reader(watched, ReadSpec(point=Point.LAST)).features(TEXTS)
    assert sorted(watched.texts) == sorted({t.strip() for t in TEXTS})
    assert features.shape == (5, 3 * 32)
    for row, text in zip(features, TEXTS, strict=True):
        [states] = tiny_reasoner.read([text.strip()])
        torch.testing.assert_close(row, states[:, -1].flatten())


def test_many_texts_are_read_in_chunks(tiny_reasoner: CodiReasoner, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{a} + {b} = {a + b}." for a in range(4) for b in range(3)] + ["1 + 1 = 2. 2 + 2 = 4."]
    whole = Reader(tiny_reasoner, ReadSpec()).features(texts)
    monkeypatch.setattr(module, "CHUNK", 5)
    watched = WatchedReasoner(tiny_reasoner)
    torch.testing.assert_close(Reader(watched, ReadSpec()).features(texts), whole)
    assert [len(call) for call in watched.calls] == [5, 5, 3]


def test_the_final_layer_at_the_last_token(tiny_reasoner: CodiReasoner) -> None:
    features = Reader(tiny_reasoner, ReadSpec(point=Point.LAST, layers="final")).features(TEXTS[:1])
    ids = torch.tensor([tiny_reasoner.ids(TEXTS[0])])
    torch.testing.assert_close(features[0], tiny_reasoner.lm.base_model(ids).last_hidden_state[0, -1])


def test_before_result_reads_the_cut_text(tiny_reasoner: CodiReasoner) -> None:
    cut = Reader(tiny_reasoner, ReadSpec(point=Point.BEFORE_RESULT))
    whole = Reader(tiny_reasoner, ReadSpec(point=Point.LAST))
    texts = ["12 + 5 = 17.", "12 + 5 = 18."]
    features = cut.features(texts)
    assert torch.equal(features[0], features[1])
    torch.testing.assert_close(features[:1], whole.features(["12 + 5 ="]))
    assert not torch.allclose(features[:1], whole.features(texts[:1]), atol=1e-3)


def test_mean_is_over_the_texts_own_tokens(tiny_reasoner: CodiReasoner) -> None:
    spec = ReadSpec(point=Point.MEAN, prefix=Prefix.QUESTION)
    features = Reader(tiny_reasoner, spec).features(TEXTS[:1], ["Ann has 12 apples."])
    [states] = tiny_reasoner.read(TEXTS[:1], ["Ann has 12 apples."])
    torch.testing.assert_close(features[0], states.mean(1).flatten())


def test_numbers_are_heard_whatever_stands_around_them(tiny_reasoner: CodiReasoner) -> None:
    reader = Reader(tiny_reasoner, ReadSpec(point=Point.NUMBERS))
    [features] = reader.features(["12 + 5 = 17."])
    [states] = tiny_reasoner.read(["12 + 5 = 17."])  # 12, +, 5, =, 17 and the full stop
    expected = [states[:, 4], states[:, :5].mean(1), states[:, [0, 2, 4]].mean(1), states[:, 0]]
    torch.testing.assert_close(features, torch.stack(expected).flatten())
    [before, after] = reader.features(["12 + 5 = 17 apples.", "12 + 5 = 17 ?"])
    torch.testing.assert_close(before, after)  # what follows the last number is not seen
    assert not torch.allclose(features, reader.features(["12 + 5 = 18."])[0], atol=1e-3)


def test_the_four_points_of_numbers_are_plain_means(tiny_reasoner: CodiReasoner) -> None:
    features = Reader(tiny_reasoner, ReadSpec(point=Point.NUMBERS)).features(TEXTS)
    for row, text in zip(features, TEXTS, strict=True):
        [states] = tiny_reasoner.read([text.strip()])
        [offsets] = tiny_reasoner.offsets([text.strip()])
        at = module.numbers_at(text.strip(), offsets) or list(range(states.shape[1]))
        points = [
            states[:, at[-1]],
            states[:, at[0] : at[-1] + 1].mean(1),
            states[:, at].mean(1),
            states[:, at[0]],
        ]
        torch.testing.assert_close(row, torch.stack(points).flatten(), atol=1e-5, rtol=0)


def test_a_text_without_numbers_is_taken_whole(tiny_reasoner: CodiReasoner) -> None:
    texts = ["(no step)", ""]
    for text, features in zip(texts, Reader(tiny_reasoner, ReadSpec()).features(texts), strict=True):
        [states] = tiny_reasoner.read([text])
        expected = [states[:, -1], states.mean(1), states.mean(1), states[:, 0]]
        torch.testing.assert_close(features, torch.stack(expected).flatten())


def test_the_question_counts_where_the_spec_says_so(tiny_reasoner: CodiReasoner) -> None:
    texts, questions = ["12 + 5 = 17."] * 2, ["Ann has 12 apples.", "Ben has 9 pens."]
    without = Reader(tiny_reasoner, ReadSpec()).features(texts, questions)
    assert torch.equal(without[0], without[1])
    reader = Reader(tiny_reasoner, ReadSpec(prefix=Prefix.QUESTION))
    after = reader.features(texts, questions)
    assert not torch.allclose(after[0], after[1], atol=1e-3)
    with pytest.raises(ValueError, match="give one for each of 2 texts"):
        reader.features(texts)
    with pytest.raises(ValueError, match="give one for each of 2 texts"):
        reader.features(texts, questions[:1])


def test_states_that_are_no_numbers_are_refused_with_the_text(tiny_reasoner: CodiReasoner) -> None:
    class Broken(WatchedReasoner):
        def read(
            self, texts: Sequence[str], questions: Sequence[str] | None = None, suffix: str = ""
        ) -> list[Tensor]:
            states = super().read(texts, questions, suffix)
            for text, of_text in zip(texts, states, strict=True):
                of_text[1, 0, 0] = torch.nan if "34" in text else 1.0
            return states

    reader = Reader(Broken(tiny_reasoner), ReadSpec())
    assert bool(reader.features(["12 + 5 = 17."]).isfinite().all())
    with pytest.raises(ReadingError, match=r"states on the text '17 \* 2 = 34\.' are not finite"):
        reader.features(["12 + 5 = 17.", "17 * 2 = 34.", "(no step)"])
