"""Values in messages: short, in one line, and without what a terminal would obey."""

from __future__ import annotations

import time

from reverse_codi.utils.shown import brief, cut, printable


def test_long_values_are_cut_and_short_ones_are_whole() -> None:
    assert brief("steps") == "'steps'" and cut("steps") == "steps"
    assert len(brief("x" * 10**6)) <= 200 and len(cut("x" * 10**6)) == 203
    assert brief(list(range(100))) == "[0, 1, 2, 3, 4, 5, 6, 7, ...]"
    assert brief(16**5_000) == "a number of 20003 bits"


def test_a_value_that_holds_itself_many_times_is_shown_at_once() -> None:
    laughs: list[object] = ["x"] * 9
    for _ in range(40):
        laughs = [laughs] * 9
    began = time.perf_counter()
    assert brief(laughs).startswith("[[[[...]")
    assert time.perf_counter() - began < 1


def test_what_a_terminal_would_obey_is_an_escape() -> None:
    assert printable("a\x1b[2J\u202eb\n") == "a\\x1b[2J\\u202eb\\n"
    assert cut("\x1b[2J") == "\\x1b[2J"
