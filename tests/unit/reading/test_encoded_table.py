from __future__ import annotations

import pytest

from reverse_codi.reading.claims import EncodedSteps
from reverse_codi.reading.encoded_table import NothingEncodedError, check_encoded, encoded_lines
from reverse_codi.reasoners.sites import Site

H0, H1 = Site("h", 0), Site("h", 1)


def found(parts: dict[tuple[Site, int], list[list[float]]], threshold: float = 0.6) -> EncodedSteps:
    worst = {key: [min(slots) for slots in row] for key, row in parts.items()}
    return EncodedSteps(worst, threshold, {}, parts)


PARTS = {
    (H0, 1): [[0.9, 0.8, 0.95, 0.99]],
    (H0, 2): [[0.9, 0.7, 0.95, 0.97], [0.0, 0.1, 0.0, 0.2]],
    (H1, 2): [[0.1, 0.2, 0.0, 0.3], [0.3, 0.4, 0.34, 0.87]],
}


def test_a_line_a_site_says_what_is_encoded_and_how_well_it_is_read() -> None:
    assert encoded_lines(found(PARTS)) == [
        "h0: step 1; step 1 worst part 0.80 result 0.99, step 2 worst part 0.00 result 0.20",
        "h1: result 2; step 1 worst part 0.00 result 0.30, step 2 worst part 0.30 result 0.87",
    ]
    check_encoded(found(PARTS))


def test_where_nothing_is_encoded_the_error_says_what_was_read_and_how_to_go_on() -> None:
    with pytest.raises(NothingEncodedError) as raised:
        check_encoded(found(PARTS, threshold=1.0))
    message = str(raised.value)
    assert "h1: nothing; step 1 worst part 0.00 result 0.30, step 2 worst part 0.30 result 0.87" in message
    assert "reading.encoded_threshold = 1" in message and "reverse-codi check-reasoner" in message
    with pytest.raises(NothingEncodedError, match="no trace has a step"):
        check_encoded(found({}))
