"""Texts to score, from a file or standard input.

Plain lines: text i is of thought i of the trial, problem by problem and site by site. JSON lines name their
thought, `{"question": "Ann has 12 ...", "site": "h1", "text": "17 * 2 = 34."}`; `translation` is as good as
`text`, so what `python -m reverse_codi.verbalize --out rows.jsonl` writes can be scored as it is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import AliasChoices, BaseModel, Field

from reverse_codi.config import UserError, validated
from reverse_codi.rewards.bench import Bench
from reverse_codi.rows import Rows
from reverse_codi.sites import ANSWER, Site

STANDARD_INPUT = "-"


class TextsError(UserError):
    """Texts cannot be scored; the message names file, line and the mend."""


class Line(BaseModel):
    """One JSON line; other keys are passed over."""

    question: str
    site: str
    text: str = Field(validation_alias=AliasChoices("text", "translation"))


def read_texts(place: str, bench: Bench) -> Rows:
    """The texts at `place` with their thoughts.

    Args:
        place: a file, or "-" for standard input.
        bench: whose thoughts plain lines are of.

    Raises:
        UserError: there are no texts, or more than thoughts, or a line is not as it must be.
    """
    if place != STANDARD_INPUT and not Path(place).is_file():
        raise TextsError(f"no file {place}; give one with a text a line, or - for standard input")
    whole = sys.stdin.read() if place == STANDARD_INPUT else Path(place).read_text()
    lines = [(n, line) for n, line in enumerate(whole.splitlines(), 1) if line.strip()]
    if not lines:
        raise TextsError(f"{place} holds no text; write one a line")
    if lines[0][1].lstrip().startswith("{"):
        return _named([_parsed(place, n, line, bench) for n, line in lines], bench)
    texts, n_thoughts = [line for _, line in lines], len(bench.thoughts)
    if len(texts) > n_thoughts:
        raise TextsError(
            f"{place} holds {len(texts)} texts, the trial has {n_thoughts} thoughts; raise --problems, or "
            'write JSON lines that name theirs: {"question": ..., "site": "h1", "text": ...}'
        )
    return bench.rows(texts)


def _parsed(place: str, n: int, line: str, bench: Bench) -> tuple[Line, Site]:
    """One JSON line, and its site."""
    try:
        record: Any = json.loads(line)
    except json.JSONDecodeError as error:
        raise TextsError(f"{place}:{n} is no JSON ({error}); write all lines as JSON, or none") from None
    parsed = validated(Line, record, f"{place}:{n}")
    try:
        site = Site.parse(parsed.site)
        bench.measure.map_of(site)
    except (ValueError, KeyError) as error:
        raise TextsError(f"{place}:{n}: {error.args[0]}") from None
    return parsed, site


def _named(lines: Sequence[tuple[Line, Site]], bench: Bench) -> Rows:
    """Rows of thoughts that the reasoner thinks now; claims are known for the trial's questions only."""
    sites = [site for _, site in lines]
    questions, texts = [line.question for line, _ in lines], [line.text for line, _ in lines]
    chains = bench.reasoner.think(questions)
    states = bench.reasoner.answer_states(questions) if ANSWER in sites else None
    targets = [
        states[row] if site == ANSWER and states is not None else chains.at(site)[row]
        for row, site in enumerate(sites)
    ]
    claims = dict(zip(bench.thoughts.questions, bench.thoughts.claims, strict=True))
    known = [claims.get(question, []) for question in questions]
    return bench.rows_of(texts, questions, sites, torch.stack(targets), known)
