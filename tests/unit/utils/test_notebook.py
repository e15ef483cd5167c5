from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reverse_codi.reasoners.base import Chains
from reverse_codi.traces.store import TraceStore
from reverse_codi.utils.notebook import html_line, html_table


def test_cells_are_shown_as_the_text_that_they_are() -> None:
    assert html_table(["a&b"], [["<eot>"], [None], [1.5]]) == (
        "<table><tr><th>a&amp;b</th></tr><tr><td>&lt;eot&gt;</td></tr><tr><td>-</td></tr>"
        "<tr><td>1.5</td></tr></table>"
    )
    assert html_line("<b>") == "<p>&lt;b&gt;</p>" and html_line("x", bold=True) == "<p><b>x</b></p>"


def chains(n: int) -> Chains:
    """h is 3, 4 in every place, so of norm 5."""
    return Chains(
        torch.tensor([3.0, 4.0]).expand(n, 3, 2), torch.zeros(n, 2, 2), [f"answer <{i}>" for i in range(n)]
    )


def test_chains_show_outputs_and_not_their_vectors() -> None:
    shown = chains(12)
    assert repr(shown).startswith("Chains: 12, each of 2 thoughts of width 2\n  answer <0>\n")
    assert repr(shown).endswith("  answer <9>\n... and 2 more; use to_pandas()")
    html = shown._repr_html_()
    assert "<td>9</td><td>5.00</td><td>5.00</td><td>5.00</td><td>answer &lt;9&gt;</td>" in html
    assert "answer &lt;10&gt;" not in html and "and 2 more" in html
    assert repr(chains(0)) == "Chains: 0, each of 2 thoughts of width 2" and chains(0)._repr_html_()


def test_chains_as_a_data_frame_have_a_row_a_thought() -> None:
    frame = chains(2).to_pandas()
    assert list(frame.columns) == ["trace", "thought", "hidden_state", "latent_input", "output"]
    assert frame.trace.tolist() == [0, 0, 0, 1, 1, 1] and frame.thought.tolist() == [0, 1, 2] * 2
    assert frame.hidden_state[4].tolist() == [3.0, 4.0] and frame.latent_input[4].tolist() == [0.0, 0.0]
    assert frame.latent_input[5] is None


def test_a_store_shows_its_questions(tiny_traces: TraceStore) -> None:
    some = tiny_traces.select(range(12))
    right = sum(map(bool, some.correct)) / 12
    assert repr(some) == (
        f"TraceStore: 12 traces (train) of CodiReasoner, 3 thoughts of width 32, {right:.1%} right"
    )
    html = some._repr_html_()
    assert html.count("<tr>") == 11 and "... and 2 more; use to_pandas()" in html
    frame = some.to_pandas()
    assert list(frame.columns) == ["question", "gold", "claims", "output", "answer", "correct"]
    assert frame.question.tolist() == some.questions and frame.claims.tolist() == some.claims


def test_a_store_without_gold_answers_says_nothing_of_them(
    tiny_traces: TraceStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reverse_codi.traces.imports import import_arrays

    arrays = {"hidden_states": torch.ones(1, 3, 2).numpy(), "latent_inputs": torch.ones(1, 2, 2).numpy()}
    store = import_arrays(tmp_path / "store", arrays, {"questions": ["a < b?"], "reasoner_hash": "0"})
    assert repr(store) == "TraceStore: 1 traces (imported) of imported, 2 thoughts of width 2"
    assert "<td>a &lt; b?</td><td>-</td><td>-</td>" in store._repr_html_()
