"""Texts from elsewhere that name numbers and make no claim: logit-lens listings and bare number lists.

CODI's public code logs each latent's likeliest tokens as `decoded 0th latent (top5): [' 13', '13', ' 7']`:
a Python list, one line for each latent.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass

from reverse_codi.tasks.numbers import DECIMAL, canonical_number

_LATENT = re.compile(r"decoded\s+\d+(?:st|nd|rd|th)\s+latent\s*\(top\s*\w*\)\s*:\s*(.*)", re.IGNORECASE)
# A string as Python's repr writes it. No other escape is read, so `ast.literal_eval` cannot fail.
_ESCAPE = r"\\(?:[\\'\"nrt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U00(?:0[0-9a-f]|10)[0-9a-f]{4})"
_STRING = re.compile(rf"'(?:[^'\\]|{_ESCAPE})*'|\"(?:[^\"\\]|{_ESCAPE})*\"")
_NUMBER = re.compile(rf"(?:(?<![\w.)%])[-−])?[$€£]?{DECIMAL}")
# One question of CODI's log: its number, its words, gold solution and answer, its latents, what was answered.
_QUESTION = re.compile(r"^Question\s*\d+\.\.\.$", re.MULTILINE)
_GOLD = re.compile(r"^CoT=(?P<solution>.*?)(?:, Answer=(?P<answer>.*))?$", re.MULTILINE)
_PREDICTION = re.compile(r"^Model Prediction:(.*)$", re.MULTILINE)
_BETWEEN = re.compile(r"[\s,;.|'\"\[\]()]*")


def latent_tokens(text: str) -> list[list[str]]:
    """The tokens that a listing names, one list for each latent, in order; other lines are skipped.

    >>> latent_tokens("decoded 0th latent (top5): [' 13', 'is']")
    [[' 13', 'is']]
    """
    lines = (match[1] for match in map(_LATENT.search, text.split("\n")) if match)
    return [[ast.literal_eval(string) for string in _STRING.findall(line)] for line in lines]


def listing_results(text: str) -> list[list[str]]:
    """The canonical numbers that a listing names, one list for each latent; other tokens are dropped.

    A number that a latent names twice (" 13" and "13" are two tokens) counts once. A text that consists only
    of numbers is one latent. Any other text gives [].

    >>> listing_results("decoded 0th latent (top5): [' 13', '13', 'is', ' 7']")
    [['13', '7']]
    >>> listing_results("13, 7")
    [['13', '7']]
    >>> listing_results("He has 13.")
    []
    """
    latents = latent_tokens(text)
    if latents:
        return [_numbers(tokens) for tokens in latents]
    numbers = _NUMBER.findall(text)
    return [_numbers(numbers)] if numbers and _BETWEEN.fullmatch(_NUMBER.sub(" ", text)) else []


def _numbers(tokens: Iterable[str]) -> list[str]:
    """Canonical numbers in order, each once."""
    return list(dict.fromkeys(number for number in map(canonical_number, tokens) if number is not None))


@dataclass(frozen=True)
class Listed:
    """One question of a log of CODI's `probe_latent_token.py`.

    Attributes:
        question: its text.
        solution: the gold solution, as `<<16-3-4=9>> <<9*2=18>>`; "" if the log has none.
        answer: the gold answer as logged; "" if the log has none.
        prediction: the model's answer; "" if the log has none.
        latents: the tokens of each latent, likeliest first.
    """

    question: str
    solution: str
    answer: str
    prediction: str
    latents: list[list[str]]


def listed(text: str) -> list[Listed]:
    """The questions of a log, in order; lines before the first question are skipped."""
    return [_listed(block) for block in _QUESTION.split(text)[1:]]


def _listed(block: str) -> Listed:
    gold, prediction, latent = _GOLD.search(block), _PREDICTION.search(block), _LATENT.search(block)
    end = min((match.start() for match in (gold, prediction, latent) if match), default=len(block))
    return Listed(
        block[:end].strip().removesuffix("..."),
        gold["solution"] if gold else "",
        (gold["answer"] or "") if gold else "",
        prediction[1].strip() if prediction else "",
        latent_tokens(block),
    )
