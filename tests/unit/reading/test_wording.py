from __future__ import annotations

from reverse_codi.reading.wording import worded
from reverse_codi.tasks.equations import parse_equations

QUESTIONS = ["Ann has 12 apples. She buys 5 more.", "Ben starts with 9 pens. Then he drops 2."]


def test_framed_claims_stay_what_they_are() -> None:
    texts = ["12 + 5 = 17. 17 * 2 = 34."] * 200
    framed = worded(texts, QUESTIONS, share=1.0)
    assert len(set(framed)) > 150
    said = [text.replace(" is ", " = ") for text in framed]
    assert {tuple(e.claim for e in parse_equations(text)) for text in said} == {
        ("12 + 5 = 17", "17 * 2 = 34")
    }
    assert any(" is " in text for text in framed)
    assert all(text.endswith(".") for text in framed)


def test_the_words_bring_no_numbers_of_their_own() -> None:
    for text in worded(["12 + 5 = 17."] * 200, QUESTIONS, share=1.0):
        assert (
            sorted(word for word in text.rstrip(".").split() if word.isdigit()) == ["12", "17", "5"]
            or "17." in text
        )


def test_a_share_is_framed_and_what_claims_nothing_is_left_alone() -> None:
    framed = worded(["12 + 5 = 17."] * 1000, QUESTIONS, share=0.3)
    # a frame may draw no words on either side: one in 36, three quarters of them with "="
    assert 0.2 < sum(text != "12 + 5 = 17." for text in framed) / 1000 < 0.4
    assert worded(["12 + 5 = 17."], QUESTIONS, share=0.0) == ["12 + 5 = 17."]
    assert worded(["(no step)", ""], QUESTIONS, share=1.0) == ["(no step)", ""]


def test_one_seed_gives_the_same_words() -> None:
    texts = ["12 + 5 = 17."] * 20
    assert worded(texts, QUESTIONS, 0.5, seed=3) == worded(texts, QUESTIONS, 0.5, seed=3)
    assert worded(texts, QUESTIONS, 0.5, seed=3) != worded(texts, QUESTIONS, 0.5, seed=4)
