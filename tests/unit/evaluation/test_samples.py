from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import Tensor

from reverse_codi.cli.samples import main, table
from reverse_codi.errors import UserError
from reverse_codi.evaluation import samples
from reverse_codi.evaluation.samples import Tried, by_margin, counts, nearest_of_all, tried
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.traces.store import TraceStore
from reverse_codi.utils import console
from reverse_codi.verbalize.thoughts import thought_sites, thoughts_of
from reverse_codi.verbalize.translations.reference_texts import reference_texts
from reverse_codi.verbalize.translator import Translator
from tests.tiny import make_encoded

MATCH = {"(no step)": 0.5, "(no no)": 0.9, "1 + 1 = 2.": 0.6, "1 + 2 = 3.": 0.62, "28 no)))": 0.95}


class Writes(Translator):
    """Greedy texts as given, and as samples garbled ones of them."""

    def __init__(self, reasoner: CodiReasoner, texts: list[str]) -> None:
        self.reasoner = reasoner
        self.texts = texts
        self.folder = Path("kept nothing")
        self.engine: Any = SimpleNamespace(progress=None)

    def greedy(self, slots: Tensor) -> list[str]:
        return self.texts[: len(slots)] + [f"{i} + 1 = {i + 1}." for i in range(len(slots) - len(self.texts))]

    def sampled(self, slots: Tensor, n: int, seed: int = 0, temperature: float = 1.0) -> list[list[str]]:
        if self.engine.progress is not None:
            for done in (3, 7):
                self.engine.progress(done, 7)
        return [[text, *["(no no)"] * (n - 1)] for text in self.texts]


def test_the_proxy_alone_takes_garbled_texts_and_the_rule_does_not(tiny_traces: TraceStore) -> None:
    thoughts = thoughts_of(tiny_traces.select([0]), thought_sites(3)[:2], make_encoded(3))
    texts = [["(no step)", "(no no)"], ["1 + 1 = 2.", "1 + 2 = 3.", "28 no)))"]]
    made = Tried(thoughts, texts, [MATCH, MATCH])
    assert made.chosen(0, nearest_of_all) == ["(no step)", "1 + 1 = 2."]
    assert made.chosen(2, nearest_of_all) == ["(no no)", "28 no)))"]
    assert made.chosen(2, by_margin(0.05)) == ["(no step)", "1 + 1 = 2."]
    assert made.chosen(2, by_margin(0.0)) == ["(no step)", "1 + 2 = 3."]


def test_counts_are_of_rows_and_right_ones(
    tiny_reasoner: CodiReasoner, tiny_metric: ThoughtMetric, tiny_traces: TraceStore
) -> None:
    thoughts = thoughts_of(tiny_traces.select(range(30)), thought_sites(3), make_encoded(3))
    method = Writes(tiny_reasoner, thoughts.gold)
    made = tried(method, tiny_metric, thoughts, 2, seed=0)
    assert made.texts[4] == [thoughts.gold[4], thoughts.gold[4], "(no no)"]
    predicted = tiny_metric.predict(["(no no)"], thoughts.sites[4:5])
    match = tiny_metric.match(thoughts.targets[4:5], predicted, thoughts.sites[4:5]).item()
    assert made.match[4]["(no no)"] == pytest.approx(match, abs=1e-4)
    references = reference_texts(method, tiny_metric)
    assert counts(references, tiny_metric, thoughts, thoughts.gold)[:3] == (0, 1.0, 1.0)
    silent = [row for row, gold in enumerate(thoughts.gold) if gold == "(no step)"]
    spoiled = ["(no no)" if row == silent[0] else gold for row, gold in enumerate(thoughts.gold)]
    garbled, active, inactive, _ = counts(references, tiny_metric, thoughts, spoiled)
    assert (garbled, active, inactive) == (1, 1.0, pytest.approx(1 - 1 / len(silent)))


def test_the_verb_prints_a_row_for_every_rule(
    monkeypatch: pytest.MonkeyPatch,
    tiny_reasoner: CodiReasoner,
    tiny_metric: ThoughtMetric,
    tiny_traces: TraceStore,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    thoughts = thoughts_of(tiny_traces.select(range(6)), thought_sites(3), make_encoded(3))
    drawn = Writes(tiny_reasoner, thoughts.gold), tiny_metric, thoughts
    monkeypatch.setattr(samples, "held_out", lambda *ignored: drawn)
    monkeypatch.setattr(console, "PAUSE", 0.0)  # a line for every step
    words = ["--seeds", "1", "2", "--samples", "2", "--margins", "0.05", "--out", str(tmp_path)]
    main([*words, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["rows"] == 36 and len(found["counts"]) == 6
    made = table(found["counts"])
    rows = {tuple(row[:2]): row[2:] for row in made.rows}
    assert rows.keys() == {("0", "greedy"), ("2", "nearest of all"), ("2", "margin 0.05")}
    assert rows["0", "greedy"] == rows["2", "margin 0.05"]
    assert rows["0", "greedy"][:3] == ["0", "1.000 (1.000 1.000)", "1.000 (1.000 1.000)"]
    main(words)
    shown = capsys.readouterr().out
    assert "seeds: 1 of 2, 0.0 minutes left" in shown and "texts: 3 of 7, 0.0 minutes left" in shown
    assert "36 rows" in shown and "1.000 (1.000 1.000)" in shown and "nearest of all" in shown


def test_a_verbalizer_of_whole_traces_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from reverse_codi.reasoners.sites import ANSWER
    from reverse_codi.recipe.schema import Recipe

    class Whole:
        maps = {ANSWER: None}

    monkeypatch.setattr(ThoughtMetric, "load", lambda *ignored: Whole())
    monkeypatch.setattr("reverse_codi.recipe.schema.ReasonerSection.load", lambda self: None, raising=False)
    with pytest.raises(UserError, match="writes one text a trace"):
        samples.held_out(Recipe(), tmp_path, 2, 0, tmp_path)
