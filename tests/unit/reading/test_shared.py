from __future__ import annotations

import threading

import pytest
import torch

from reverse_codi.reading.reader import Reader
from reverse_codi.reading.shared import SharedReader
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.recipe.reading import Point, ReadSpec
from tests.fakes import WatchedReasoner

TEXTS = ["12 + 5 = 17", "no number here", " 12 + 5 = 17 "]


@pytest.mark.parametrize("point", [Point.NUMBERS, Point.LAST])
@pytest.mark.parametrize("layers", ["final", "2,0"])
def test_further_layers_come_from_the_same_reading(
    tiny_reasoner: CodiReasoner, point: Point, layers: str
) -> None:
    spec = ReadSpec(point=point, layers=layers)
    counting = WatchedReasoner(tiny_reasoner)
    shared = SharedReader(Reader(counting, spec), ["1"])
    torch.testing.assert_close(shared.features(TEXTS), Reader(tiny_reasoner, spec).features(TEXTS))
    found = shared.layers(TEXTS)
    assert sorted(found) == ([1, 2] if layers == "final" else [0, 1, 2])
    for layer, states in found.items():
        alone = Reader(tiny_reasoner, spec.model_copy(update={"layers": str(layer)})).features(TEXTS)
        assert states.shape == (3, 4 if point is Point.NUMBERS else 1, tiny_reasoner.width)
        torch.testing.assert_close(states.flatten(1), alone)
    assert sorted(counting.texts) == ["12 + 5 = 17", "no number here"]


def test_a_layer_that_is_not_there(tiny_reasoner: CodiReasoner) -> None:
    with pytest.raises(ValueError, match="layers '7': this model has 0 to 2"):
        SharedReader(Reader(tiny_reasoner, ReadSpec()), ["7"]).features(TEXTS)


def test_threads_read_a_text_once(tiny_reasoner: CodiReasoner) -> None:
    counting = WatchedReasoner(tiny_reasoner)
    shared = SharedReader(Reader(counting, ReadSpec()))
    threads = [threading.Thread(target=shared.features, args=(TEXTS,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(counting.texts) == shared.n_read == 2


def test_what_the_last_turns_did_not_ask_for_is_forgotten(tiny_reasoner: CodiReasoner) -> None:
    counting = WatchedReasoner(tiny_reasoner)
    shared = SharedReader(Reader(counting, ReadSpec()))

    def turn(*texts: str, most_bytes: int = 10**9) -> list[str]:
        counting.calls.clear()
        shared.forget(2, most_bytes)
        shared.features(texts)
        return counting.texts

    assert turn("a", "b") == ["a", "b"]
    assert turn("a") == [] and turn("a", "b") == []  # b was asked for two turns before
    assert turn("a") == turn("a") == turn("a") == []
    assert turn("b") == ["b"] and len(shared._known) == 2
    assert turn("b", most_bytes=shared._known["b", ""].nbytes) == ["b"]  # with a it is too much
    assert len(shared._known) == len(shared._used) == 1
