"""Texts to score, from a file or standard input.

Plain lines: text i is of thought i of the trial, problem by problem and site by site. Records (JSON lines, a
JSON list, Parquet, CSV) name their thought: `{"question": "Ann ...", "site": "h1", "text": "17 * 2 = 34."}`.
`translation` is as good as `text`, so what `reverse-codi verbalize --out rows.jsonl` writes can be
scored as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import AliasChoices, BaseModel, Field

from reverse_codi.errors import UserError
from reverse_codi.evaluation.reward_trials.bench import Bench
from reverse_codi.reasoners.question_checks import faults
from reverse_codi.reasoners.sites import ANSWER, Site
from reverse_codi.rewards.candidates import Candidates
from reverse_codi.storage.text_files import half_character
from reverse_codi.tasks.corpus import Row
from reverse_codi.tasks.records import Records
from reverse_codi.utils.config import validated


class TextsError(UserError):
    """Texts cannot be scored; the message names file, line and what to do."""


class Line(BaseModel):
    """One record; other keys are passed over."""

    question: str
    site: str
    text: str = Field(validation_alias=AliasChoices("text", "translation"))


def texts_of(records: Records, bench: Bench) -> Candidates:
    """The texts of a file with their thoughts.

    Args:
        records: what the file holds.
        bench: whose thoughts plain lines are of.

    Raises:
        UserError: there are no texts, or more than thoughts, or a line is not as it must be.
    """
    rows = records.rows
    if not rows:
        raise TextsError(f"{records.name} holds no text; write one a line")
    if not records.plain:
        return _named([_parsed(row, bench) for row in rows], bench)
    n_thoughts = len(bench.thoughts)
    if len(rows) > n_thoughts:
        raise TextsError(
            f"{records.name} holds {len(rows)} texts, the trial has {n_thoughts} thoughts; raise --problems, "
            'or write JSON lines that name theirs: {"question": ..., "site": "h1", "text": ...}'
        )
    return bench.rows([row.text("text") for row in rows])


def _parsed(row: Row, bench: Bench) -> tuple[Line, Site]:
    """One record, and its site."""
    row.text("question")
    parsed = validated(Line, dict(row.fields), row.where)
    try:
        site = Site.parse(parsed.site)
        bench.metric.map_of(site)
    except (ValueError, KeyError) as error:
        raise TextsError(f"{row.where}: {error.args[0]}") from None
    [fault] = faults(bench.reasoner, [parsed.question])
    if fault := fault or half_character(parsed.text):
        raise TextsError(f"{row.where}: {fault}")
    return parsed, site


def _named(lines: Sequence[tuple[Line, Site]], bench: Bench) -> Candidates:
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
