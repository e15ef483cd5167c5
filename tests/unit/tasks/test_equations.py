from __future__ import annotations

import json
import random
import time
from fractions import Fraction
from pathlib import Path

import pytest

from reverse_codi.tasks.equations import ANNOTATION, parse_equations

GSM8K = Path(__file__).parents[3] / "../shared/data/gsm8k/train.jsonl"


def claims(text: str) -> list[str]:
    return [equation.claim for equation in parse_equations(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # spacing, marks, numbers
        ("12 + 5 = 17.", ["12 + 5 = 17"]),
        ("12+5=17", ["12 + 5 = 17"]),
        ("<<16-3-4=9>>", ["16 - 3 - 4 = 9"]),
        ("<< 12 + 5 = 17 >> << 17 * 2 = 34 >>", ["12 + 5 = 17", "17 * 2 = 34"]),
        ("12 + 5 = 17 . 17 * 2 = 34 . The answer is : 34", ["12 + 5 = 17", "17 * 2 = 34"]),
        ("12 + 5 = 17 17 * 2 = 34", ["12 + 5 = 17", "17 * 2 = 34"]),
        ("18*.5=9.00", ["18 * 0.5 = 9"]),
        ("2*20*.01=.4", ["2 * 20 * 0.01 = 0.4"]),
        ("$8,000 + $6,000 = $14,000", ["8000 + 6000 = 14000"]),
        ("Ann has 12 + 5 = 17 apples.", ["12 + 5 = 17"]),
        ("Then (see 3) 12 + 5 = 17", ["12 + 5 = 17"]),
        ("In 2023 12 + 5 = 17", ["12 + 5 = 17"]),
        # operators
        ("2 x 9 = 18", ["2 * 9 = 18"]),
        ("2x9=18", ["2 * 9 = 18"]),
        ("2 X 9 = 18", ["2 * 9 = 18"]),
        ("2×9 = 18", ["2 * 9 = 18"]),
        ("18 ÷ 9 = 2", ["18 / 9 = 2"]),
        ("<<560//10=56>>", ["560 / 10 = 56"]),
        ("$40 − $4 = $36", ["40 - 4 = 36"]),
        ("23 – 13 = 10", ["23 - 13 = 10"]),
        ("17 % 5 = 2", ["17 % 5 = 2"]),
        # signs
        ("5 - 8 = -3", ["5 - 8 = -3"]),
        ("5 - 8 = - 3", ["5 - 8 = -3"]),
        ("(-17)+43=26", ["-17 + 43 = 26"]),
        ("It is -17 + 43 = 26", ["-17 + 43 = 26"]),
        ("5 * -3 = -15", ["5 * -3 = -15"]),
        ("5 - -3 = 8", ["5 - -3 = 8"]),
        ("-(2+3) = -5", ["-(2 + 3) = -5"]),
        # parentheses stay where they matter
        ("(500+200)=700", ["500 + 200 = 700"]),
        ("30/(3)=10", ["30 / 3 = 10"]),
        ("(2*111)-50=172", ["2 * 111 - 50 = 172"]),
        ("(60+72+42)/3=58", ["(60 + 72 + 42) / 3 = 58"]),
        ("32-(16+5)=11", ["32 - (16 + 5) = 11"]),
        ("100+(100*(10/100))=110", ["100 + 100 * (10 / 100) = 110"]),
        # annotations count once; lines without them are read as they are
        ("12/60 = $<<12/60=0.2>>0.2 per minute", ["12 / 60 = 0.2"]),
        ("12+5 = <<12+5=17>>17\n17*2 = 34", ["12 + 5 = 17", "17 * 2 = 34"]),
        ("<<12=12>>", ["= 12"]),
        ("<<+12=12.0>>", ["= 12"]),
        ("<<12+5=17", ["12 + 5 = 17"]),
        # chains
        ("12 + 5 = 17 - 3 = 14", ["12 + 5 = 17", "17 - 3 = 14"]),
        ("12 + 5 = 18 - 3 = 15", ["12 + 5 = 18", "18 - 3 = 15"]),
        ("12 + 5 = 10 + 7", ["12 + 5 = 10 + 7"]),
        ("12 + 5 = 17 = 17", ["12 + 5 = 17"]),
        # lists
        ("- 12 + 5 = 17", ["12 + 5 = 17"]),
        ("* 12 + 5 = 17", ["12 + 5 = 17"]),
        ("1. 12 + 5 = 17", ["12 + 5 = 17"]),
        ("1) 12 + 5 = 17\n2) 17 - 3 = 14", ["12 + 5 = 17", "17 - 3 = 14"]),
        ("Step 1: 12 + 5 = 17", ["12 + 5 = 17"]),
        ("3/5 * 100 = 60%", ["3 / 5 * 100 = 60"]),
    ],
)
def test_claims(text: str, expected: list[str]) -> None:
    assert claims(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "(no step)",
        "12 + 5",
        "12 + 5 =",
        "= 17",
        "12 + = 17",
        "12 5 = 17",
        "x = 5",
        "12 = 12",
        "3x = 15",
        "S + 143 = 200",
        "S - 143 = 200",
        "4 * x + 600 = 10000",
        "2p/5 = 4",
        "8 x 1 1/2 = 12",
        "5(6+3) = 45",
        "20% of 50 = 10",
        "60% * 40% = 24%",
        "12 apples + 5 apples = 17",
        "12 + 5\n= 17",
        "12 + 5 == 17",
        "(12 + 5 = 17)(",
        "((((",
        "====",
    ],
)
def test_what_states_no_equation(text: str) -> None:
    assert claims(text) == (["12 + 5 = 17"] if text.startswith("(12") else [])


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("12 + 5 = 17", True),
        ("12 + 5 = 18", False),
        ("0.1 + 0.2 = 0.3", True),
        ("2 + 3 * 4 = 14", True),
        ("20 - 3 - 4 = 13", True),
        ("16 / 4 / 2 = 2", True),
        ("17 % 5 = 2", True),
        ("60 / (2/3) = 90", True),
        ("7 / 2 = 3.5", True),
        ("7 / 2 = 4", False),
        ("10 / 3 = 3.33", True),
        ("20 / 3 = 6.67", True),
        ("20 / 3 = 6.66", True),
        ("10 / 3 = 3", False),
        ("10 / 3 = 3.35", False),
        ("1 / 8 = 0.13", False),
        ("12 + 5 = 10 + 7", True),
        ("5 / 0 = 0", False),
        ("5 % 0 = 0", False),
    ],
)
def test_holds(text: str, holds: bool) -> None:
    (equation,) = parse_equations(text)
    assert equation.holds is holds


def test_parts() -> None:
    (equation,) = parse_equations("so 16-3*(4+1) = 1.0 egg")
    assert equation.left == "16 - 3 * (4 + 1)"
    assert equation.operands == ("16", "3", "4", "1")
    assert equation.operators == ("-", "*", "+")
    assert equation.right == equation.result == "1"
    assert equation.holds


def random_expression(rng: random.Random, depth: int) -> tuple[str, Fraction]:
    """Text with parentheses everywhere, and its value worked out here."""
    if depth == 0 or rng.random() < 0.2:
        n = rng.randint(1, 99)
        return str(n), Fraction(n)
    a, x = random_expression(rng, depth - 1)
    b, y = random_expression(rng, depth - 1)
    operator = rng.choice("+-*/" if y else "+-*")
    value = {"+": x + y, "-": x - y, "*": x * y, "/": x / y if y else x}[operator]
    return f"({a}{operator}{b})", value


def test_random_expressions_keep_their_value_in_canonical_form() -> None:
    rng = random.Random(0)
    for _ in range(400):
        text, value = random_expression(rng, 3)
        if value.denominator != 1 or not any(mark in text for mark in "+-*/"):
            continue
        (first,) = parse_equations(f"{text} = {value}")
        assert first.holds, text
        assert not first.left.startswith("((")
        assert parse_equations(first.claim) == [first]  # canonical text is a fixed point


def test_degenerate_text_is_read_fast() -> None:
    start = time.perf_counter()
    for text in (
        "1 " * 5_000 + "= 1",
        "(" * 5_000 + "1=1",
        "1+" * 5_000 + "1 = 2",
        "9" * 9_000 + " + 1 = 2",
        "=" * 9_000,
    ):
        parse_equations(text)
    assert time.perf_counter() - start < 5


@pytest.mark.skipif(not GSM8K.exists(), reason="shared data is absent")
def test_gsm8k_annotations_are_read_and_true() -> None:
    lines = [json.loads(line)["answer"] for line in GSM8K.read_text().splitlines()[::15]]
    annotations = [annotation for line in lines for annotation in ANNOTATION.findall(line)]
    assert len(annotations) > 1_000
    for annotation in annotations:
        (equation,) = parse_equations(f"<<{annotation}>>")
        assert equation.holds, annotation
