from __future__ import annotations

import pytest

from reverse_codi.reading.reader import before_last_number
from reverse_codi.recipe.reading import Map, Point, ReadSpec


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("12 + 5 = 17.", "12 + 5 ="),
        ("12 + 5 = 17. 17 * 2 = 34.", "12 + 5 = 17. 17 * 2 ="),
        ("5 - 7 = -2.", "5 - 7 ="),
        ("$1,234.50", "$"),
        ("(no step)", "(no step)"),
        ("", ""),
    ],
)
def test_before_last_number(text: str, cut: str) -> None:
    assert before_last_number(text) == cut


def test_layers() -> None:
    assert ReadSpec(layers="all").layer_indices(3) == [0, 1, 2]
    assert ReadSpec(layers="final").layer_indices(3) == [2]
    assert ReadSpec(layers="0,2").layer_indices(3) == [0, 2]
    with pytest.raises(ValueError, match="layers '3': this model has 0 to 2"):
        ReadSpec(layers="3").layer_indices(3)


def test_identity_compares_one_state() -> None:
    with pytest.raises(ValueError, match="set point: last and layers: final"):
        ReadSpec(map=Map.IDENTITY, layers="final")
    assert ReadSpec(map=Map.IDENTITY, layers="final", point=Point.LAST)
