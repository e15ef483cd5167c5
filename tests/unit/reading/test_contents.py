from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reverse_codi.reading.claims import Content, EncodedSteps
from reverse_codi.reading.contents import ROWS, _rows, candidates, choose_contents, unexplained
from reverse_codi.reading.reader import Reader
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.reading import ReadSpec
from reverse_codi.tasks.arithmetic import Arithmetic
from reverse_codi.tasks.base import Split
from reverse_codi.traces.imports import import_arrays
from reverse_codi.traces.store import TraceStore
from tests.tiny import make_tiny_reasoner

H0, H1 = Site("h", 0), Site("h", 1)
BOTH, FIRST, RESULT = Content((0, 1)), Content((0,)), Content((1,), whole=False)
N = 600


def encoded(parts: dict[tuple[Site, int], list[list[float]]]) -> EncodedSteps:
    worst = {key: [min(slots) for slots in row] for key, row in parts.items()}
    return EncodedSteps(worst, 0.6, {}, parts)


BLURRED = [[0.8, 0.9, 0.5, 0.55], [0.3, 0.9, 0.4, 0.9]]


def test_what_probes_leave_open() -> None:
    def found(*row: list[float]) -> list[str]:
        return [str(content) for content in candidates(encoded({(H0, len(row)): list(row)}), H0, len(row))]

    assert found([0.9, 0.9, 0.9, 0.9], [0.1, 0.0, 0.2, 0.2]) == ["step 1"]  # clear
    assert found([0.2, 0.2, 0.2, 0.2], [0.0, 0.0, 0.0, 0.1]) == ["nothing"]
    assert found([0.0, 0.3, 0.0, 0.9], [0.0, 0.0, 0.0, 0.1]) == ["result 1", "step 1"]
    # the result of the other step may be handed on, or the other step held too
    assert found([0.9, 0.9, 0.9, 0.9], [0.1, 0.0, 0.2, 0.4]) == [
        "step 1", "result 1", "step 2", "result 2", "step 1 and step 2", "result 1 and result 2",
    ]  # fmt: skip
    # read too badly to say so, and too well to say nothing
    weak = encoded({(H0, 1): [[0.2, 0.5, 0.1, 0.4]]})
    assert [str(content) for content in candidates(weak, H0, 1)] == ["nothing", "step 1", "result 1"]
    assert candidates(replace(weak, moved={(H0, 1): 0.0}), H0, 1) == [Content()]  # swaps say it is not used
    # three whole steps are compared with what is simpler, but no more are put together
    three = found([0.9] * 4, [0.8] * 4, [0.7] * 4)
    assert three == ["step 1 and step 2 and step 3"]
    assert candidates(EncodedSteps({}, 0.6), H0, 2) == [Content()]


def test_too_few_traces_of_a_length_are_joined_by_the_next_lengths() -> None:
    claims = [["c"] * n for n in [1] * 10 + [2] * 300 + [3] * 500 + [0] * 50 + [5] * 5]
    lengths = {n: [len(claims[row]) for row in _rows(claims, n, ROWS)] for n in (1, 3, 5)}
    assert {n: len(of) for n, of in lengths.items()} == {1: ROWS, 3: ROWS, 5: ROWS}
    assert (lengths[1].count(1), lengths[1].count(2), lengths[1].count(3)) == (10, 300, ROWS - 310)
    assert set(lengths[3]) == {3}
    assert lengths[5].count(5) == 5 and set(lengths[5]) == {3, 5}
    assert _rows([["c"], []], 1, ROWS) == [0]


@pytest.fixture(scope="module")
def reasoner() -> CodiReasoner:
    return make_tiny_reasoner(n_thoughts=2, hidden=96, layers=1)


@pytest.fixture(scope="module")
def reader(reasoner: CodiReasoner) -> Reader:
    return Reader(reasoner, ReadSpec())


def traces(folder: Path, reader: Reader, holds: Content, noise: float) -> TraceStore:
    """Two-step problems; h0 is a fixed map of what its text leaves, and noise. h1 is noise."""
    task, width = Arithmetic(max_operand=40), reader.reasoner.width
    problems = [p for p in task.problems(Split.TRAIN, 5 * N, 0) if len(p.claims) == 2][:N]
    rng = torch.Generator().manual_seed(0)
    features = reader.features([holds.text(p.claims) for p in problems])
    features = (features - features.mean(0)) / features.std(0).clamp(min=1e-6)
    states = features @ torch.randn(features.shape[1], width, generator=rng)
    hidden = torch.randn(len(problems), 3, width, generator=rng)
    hidden[:, 0] = states / states.std() + noise * hidden[:, 0]
    return import_arrays(
        folder,
        {"hidden_states": hidden.numpy(), "latent_inputs": hidden[:, :-1].numpy()},
        {
            "questions": [p.question for p in problems],
            "gold": [p.answer for p in problems],
            "claims": [list(p.claims) for p in problems],
            "answers": [p.answer for p in problems],
            "reasoner_hash": reader.reasoner.content_hash,
            "tokenizer_hash": reader.reasoner.tokenizer_hash,
        },
    )


@pytest.mark.parametrize(("noise", "holds"), [(0.3, FIRST), (4.0, Content())])
def test_where_probes_read_too_little_a_text_must_explain_enough(
    noise: float, holds: Content, reader: Reader, tmp_path: Path
) -> None:
    store = traces(tmp_path / "traces", reader, FIRST, noise)
    read = encoded({(H0, 2): [[0.5, 0.5, 0.5, 0.5], [0.0] * 4]})
    assert choose_contents(reader, read, store, store.claims).content(H0, 2) == holds


@pytest.mark.parametrize("holds", [BOTH, FIRST, RESULT], ids=str)
def test_the_content_that_a_thought_holds_leaves_least_of_it_unexplained(
    holds: Content, reader: Reader, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = traces(tmp_path / "traces", reader, holds, noise=0.3)
    # by probes it is the second result, and the other site holds nothing
    read = encoded({(H0, 2): BLURRED, (H1, 2): [[0.0] * 4, [0.1] * 4]})
    assert (read.content(H0, 2), read.content(H1, 2)) == (RESULT, Content())
    with caplog.at_level(logging.INFO):
        chosen = choose_contents(reader, read, store, store.claims)
    assert dict(chosen.chosen) == {(H0, 2): holds}
    assert chosen.content(H0, 2) == holds and not chosen.holds(H1, 2)
    assert EncodedSteps.from_json(chosen.to_json()) == chosen
    said = [line for line in caplog.messages if line.startswith("h0, problems of 2 steps: ")]
    assert len(said) == (holds != RESULT)  # a line where the probes were wrong
    assert all(line.endswith(f"{holds} explains more of the thoughts than result 2") for line in said)


def test_the_share_that_is_left_is_of_rows_left_out(reader: Reader, tmp_path: Path) -> None:
    store = traces(tmp_path / "traces", reader, FIRST, noise=0.0)
    noise = torch.randn(N, reader.reasoner.width, generator=torch.Generator().manual_seed(1))
    left = unexplained(reader, [FIRST, RESULT], {H0: store.vectors(H0), H1: noise}, store, store.claims)
    assert left[FIRST, H0] < 0.1 and left[RESULT, H0] > 0.5
    assert min(left[FIRST, H1], left[RESULT, H1]) > 1  # no text says anything about noise
