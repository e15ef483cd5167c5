"""Choosing among a thought's texts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from reverse_codi.errors import UserError
from reverse_codi.reasoners.sites import Site
from reverse_codi.verbalize.translator import Translator
from tests.tiny import make_table_metric, make_tiny_reasoner

SITE = Site("h", 0)


class Writes(Translator):
    """A translator whose texts are given."""

    def __init__(self, greedy: list[str], sampled: list[list[str]]) -> None:
        self.texts = greedy, sampled

    def greedy(self, slots: Tensor) -> list[str]:
        return self.texts[0]

    def sampled(self, slots: Tensor, n: int, seed: int = 0, temperature: float = 1.0) -> list[list[str]]:
        return self.texts[1]


def reranked(greedy: list[str], sampled: list[list[str]], targets: Tensor) -> list[str]:
    table = {
        "(no step)": [0.7, 0.0],
        "( no no )": [1.0, 0.0],
        "28 no)))": [0.0, 1.0],
        "1 + 1 = 2.": [0.2, 0.9],
        "1 + 2 = 3.": [0.0, 1.0],
        "1+2=3": [0.0, 1.0],
        "9 + 9 = 18.": [0.19, 0.9],
    }
    n = len(greedy)
    metric = make_table_metric(table, SITE)
    return Writes(greedy, sampled).reranked(torch.zeros(n, 1, 2), 3, targets, [SITE] * n, ["?"] * n, metric)


def test_garbled_texts_that_read_nearer_replace_neither_silence_nor_a_claim() -> None:
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    sampled = [["( no no )", "28 no)))", "( no no )"], ["28 no)))", "( no no )", "28 no)))"]]
    assert reranked(["(no step)", "1 + 1 = 2."], sampled, targets) == ["(no step)", "1 + 1 = 2."]


def test_a_claim_that_reads_nearer_wins_by_a_margin_in_the_shortest_words() -> None:
    targets = torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    sampled = [["1 + 2 = 3.", "1+2=3", "28 no)))"], ["9 + 9 = 18."] * 3, ["28 no)))", "1 + 2 = 3.", ""]]
    # The second is nearer by .004 only; the third's first choice claims nothing.
    wanted = ["1+2=3", "1 + 1 = 2.", "1 + 2 = 3."]
    assert reranked(["1 + 1 = 2.", "1 + 1 = 2.", "28 no)))"], sampled, targets) == wanted


def test_where_no_text_claims_anything_the_greedy_one_stays() -> None:
    assert reranked(["28 no)))"], [["( no no )", "", "28 no)))"]], torch.tensor([[1.0, 0.0]])) == ["28 no)))"]


def test_a_reasoner_that_was_never_saved_is_refused(tiny_verbalizer: Path) -> None:
    with pytest.raises(UserError, match="this reasoner was never saved, so no engine can load"):
        Translator(make_tiny_reasoner(), tiny_verbalizer)
