from __future__ import annotations

from pathlib import Path

import pytest

from reverse_codi.errors import UserError
from reverse_codi.evaluation.reward_trials.bench import DISTRACTORS, Bench, TextKind, TrialSource, with_others
from reverse_codi.evaluation.reward_trials.texts import texts_of
from reverse_codi.evaluation.reward_trials.trial import run
from reverse_codi.reading.affine import AffineMap
from reverse_codi.reading.claims import ENCODED_FILE
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import ANSWER
from reverse_codi.rewards.registry import find
from reverse_codi.tasks.records import read_records
from reverse_codi.traces.imports import import_arrays
from reverse_codi.traces.store import StoreError, TraceStore
from tests.tiny import (
    make_encoded,
    make_problems,
    make_tiny_policy,
    make_tiny_reasoner,
    make_tiny_traces,
    stir,
)


def saved_verbalizer(folder: Path, reasoner: CodiReasoner, metric: ThoughtMetric, n_slots: int = 1) -> Path:
    policy = make_tiny_policy(reasoner, n_slots=n_slots)
    stir(policy)
    policy.save(folder)
    metric.save(folder)
    (folder / ENCODED_FILE).write_text(make_encoded(reasoner.n_thoughts).to_json())
    return folder


@pytest.fixture
def source(
    tmp_path: Path, tiny_reasoner: CodiReasoner, tiny_metric: ThoughtMetric, tiny_folders: tuple[Path, Path]
) -> TrialSource:
    """The tiny reasoner's own traces, of which 6 of 9 are taken."""
    make_tiny_traces(tiny_reasoner, tmp_path / "traces", 9)
    verbalizer = saved_verbalizer(tmp_path / "verbalizer", tiny_reasoner, tiny_metric)
    return TrialSource(
        reasoner=str(tiny_folders[0]), verbalizer=verbalizer, traces=tmp_path / "traces", problems=6
    )


def test_own_traces_are_taken_from_the_first_on(source: TrialSource, tiny_reasoner: CodiReasoner) -> None:
    bench = Bench.of(source)
    thoughts, questions = bench.thoughts, [p.question for p in make_problems(9)]
    assert set(thoughts.questions) <= set(questions[:6])
    chains = tiny_reasoner.think(questions)
    row = len(thoughts) - 1
    own = chains.at(thoughts.sites[row])[questions.index(thoughts.questions[row])]
    assert thoughts.targets[row].tolist() == pytest.approx(own.tolist(), abs=1e-4)
    rows = bench.rows(bench.texts[TextKind.GOLD])
    assert rows.distractors.shape == (len(thoughts), DISTRACTORS, tiny_reasoner.width)
    assert run(find("brevity"), bench).values[TextKind.EMPTY] == [-1.0] * len(thoughts)


def test_whole_traces_are_tried_too(tmp_path: Path, source: TrialSource, tiny_reasoner: CodiReasoner) -> None:
    problems = make_problems(40)
    metric = ThoughtMetric.load(source.verbalizer, tiny_reasoner)
    features = metric.reader.features([" ".join(p.claims) for p in problems])
    states = tiny_reasoner.answer_states([p.question for p in problems])
    whole = ThoughtMetric(metric.reader, {ANSWER: AffineMap.fit(features, states, 0.1)})
    verbalizer = saved_verbalizer(tmp_path / "whole", tiny_reasoner, whole, tiny_reasoner.n_thoughts)
    bench = Bench.of(source.model_copy(update={"verbalizer": verbalizer}))
    assert bench.thoughts.sites == [ANSWER] * 6
    (tmp_path / "rows.jsonl").write_text('{"question": "Ann has 3 apples.", "site": "answer", "text": "a"}')
    own = tiny_reasoner.answer_states(["Ann has 3 apples."])[0].tolist()
    rows = texts_of(read_records(str(tmp_path / "rows.jsonl")), bench)
    assert rows.targets[0].tolist() == pytest.approx(own, abs=1e-4)
    assert run(find("answer_preserved"), bench).values[TextKind.GOLD] == [None] * 6


def test_another_reasoner_needs_traces(source: TrialSource) -> None:
    with pytest.raises(UserError, match=r"what should .*reasoner think about\? give --traces"):
        Bench.of(source.model_copy(update={"traces": None}))


def test_traces_of_another_reasoner_are_refused(tmp_path: Path, source: TrialSource) -> None:
    make_tiny_traces(make_tiny_reasoner(seed=1), tmp_path / "others", 4)
    with pytest.raises(StoreError, match="is of another reasoner"):
        Bench.of(source.model_copy(update={"traces": tmp_path / "others"}))


def test_traces_without_steps_are_refused(
    tmp_path: Path, source: TrialSource, tiny_reasoner: CodiReasoner
) -> None:
    assert source.traces is not None
    known = TraceStore.open(source.traces)
    manifest = {"questions": known.questions, "reasoner_hash": tiny_reasoner.content_hash}
    arrays = {"hidden_states": known.hidden_states.numpy(), "latent_inputs": known.latent_inputs.numpy()}
    import_arrays(tmp_path / "bare", arrays, manifest)
    with pytest.raises(UserError, match=r"bare holds no steps.*import it with claims"):
        Bench.of(source.model_copy(update={"traces": tmp_path / "bare"}))


def test_a_thought_without_another_of_its_site_is_left_out(source: TrialSource) -> None:
    thoughts = Bench.of(source).thoughts
    one = thoughts.sites.index(thoughts.sites[-1])
    rest = [row for row, site in enumerate(thoughts.sites) if site != thoughts.sites[-1]]
    assert with_others(thoughts.take([*rest, one])).sites == [thoughts.sites[row] for row in rest]
    with pytest.raises(UserError, match=r"no two problems.*raise --problems"):
        with_others(thoughts.take([one]))
