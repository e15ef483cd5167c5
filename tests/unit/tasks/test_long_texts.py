"""What each pattern begins with and never ends, 200,000 times: it takes seconds of a core, not hours."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import pytest

from reverse_codi.reading.claims import claimed
from reverse_codi.reading.reader import before_last_number, numbers_at
from reverse_codi.storage.json_files import parsed
from reverse_codi.storage.yaml_text import load_yaml
from reverse_codi.tasks.answers import canonical_plain, canonical_sentence, canonical_truth, stated
from reverse_codi.tasks.claims import claims_of, parse_belongings
from reverse_codi.tasks.claims import stated as stated_claims
from reverse_codi.tasks.corpus import Row, clean_question, question_signature
from reverse_codi.tasks.equations import parse_equations
from reverse_codi.tasks.gsm8k import aug_problem, gsm8k_problem
from reverse_codi.tasks.numbers import canonical_number, whole_number
from reverse_codi.tasks.spellings import numbers_in
from reverse_codi.tasks.steps import sentence_steps
from reverse_codi.verbalize.questions import read_questions

N = 200_000
SECONDS = 20
LONG = {
    "opened annotations": "<<" * (N // 2),
    "equals": "1=" * (N // 2),
    "sums": "1+" * (N // 2),
    "chained": "1+1=" * (N // 4),
    "brackets": "(" * N,
    "signs": "-" * N,
    "lines": "\n" * N,
    "blanks": " " * N,
    "blanks after a number": "= 5" + " " * N + ",",
    "partial": ". = 5 a" * (N // 7),
    "names": "A-" * (N // 2),
    "every": "Every " * (N // 6),
    "sentences": "Tom is a cat. " * (N // 14),
    "bars": "||" * (N // 2),
    "hashes": "#" * N,
    "slashes": "/" * N + " ",
    "dots": "." * N,
    "digits": "1" * N,
    "separators": "1,000," * (N // 6),
    "fractions": "1/" * (N // 2),
    "powers": "10^" * (N // 3),
    "percent": "%" * N,
    "times": "x " * (N // 2),
    "cues": "answer is " * (N // 10),
    "quotes": "'" * N,
    "braces": "{" * N,
}


def of_row(parse: Callable[[Row], object], *keys: str) -> Callable[[str], object]:
    return lambda text: parse(Row("f:1", dict.fromkeys(keys, text)))


PARSERS: dict[str, Callable[[str], object]] = {
    "claims": claims_of,
    "stated claims": stated_claims,
    "belongings": parse_belongings,
    "equations": parse_equations,
    "content": claimed,
    "number": canonical_number,
    "whole number": whole_number,
    "plain answer": canonical_plain,
    "sentence": canonical_sentence,
    "truth": canonical_truth,
    "stated answer": lambda text: stated(text, canonical_number, ""),
    "spelled numbers": lambda text: list(numbers_in(text)),
    "before the last number": before_last_number,
    "numbers at": lambda text: numbers_at(text, [(0, 1)]),
    "steps": sentence_steps,
    "question": lambda text: question_signature(clean_question(text)),
    "gsm8k": of_row(gsm8k_problem, "question", "answer"),
    "gsm8k-aug": of_row(aug_problem, "text"),
    "argument": lambda text: read_questions([text]),
    "json": parsed,
    "yaml": load_yaml,
}


@pytest.mark.long
@pytest.mark.parametrize("parser", PARSERS)
def test_no_text_takes_minutes(parser: str) -> None:
    for kind, text in LONG.items():
        began = time.process_time()
        with contextlib.suppress(ValueError):  # and so UserError
            PARSERS[parser](text)
        assert time.process_time() - began < SECONDS, kind
