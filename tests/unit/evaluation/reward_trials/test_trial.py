from __future__ import annotations

import math
from pathlib import Path

import pytest

from reverse_codi.errors import UserError
from reverse_codi.evaluation.reward_trials.bench import Bench, TextKind, TrialSource, other_thoughts
from reverse_codi.evaluation.reward_trials.texts import texts_of
from reverse_codi.evaluation.reward_trials.trial import Spread, Trial, run, score
from reverse_codi.rewards.batch import RewardBatch, RewardError
from reverse_codi.rewards.declare import RewardSpec
from reverse_codi.rewards.registry import find
from reverse_codi.tasks.records import read_records


@pytest.fixture(scope="module")
def bench() -> Bench:
    """Thoughts of 16 problems of the embedded model."""
    return Bench.of(TrialSource(problems=16))


def test_the_spread_is_of_what_applies() -> None:
    assert Spread.of([1.0, None, 2.0, 3.0, 6.0]) == Spread(4, 3.0, 1.75, 2.5, 3.75)
    assert Spread.of([None]).n == 0 and math.isnan(Spread.of([None]).mean)


def trial(**values: list[float | None]) -> Trial:
    gold = values.pop("gold")
    every = {kind: [0.0] * len(gold) for kind in TextKind} | {TextKind(name): v for name, v in values.items()}
    return Trial(
        RewardSpec("own", lambda batch: [], 0.0), every | {TextKind.GOLD: gold}, list(range(len(gold)))
    )


def test_gold_must_lead_thought_by_thought() -> None:
    gold: list[float | None] = [1.0, 2.0, 3.0, 4.0]
    assert trial(gold=gold).won_by == []
    assert trial(gold=gold, constant=[1.0, 2.0, 3.0, 4.0]).won_by == [TextKind.CONSTANT]
    assert trial(gold=gold, empty=[9.0, None, None, None], other=[0.0, 1.0, None, 3.5]).won_by == [
        TextKind.EMPTY
    ]
    # The mean of "shuffled" is higher, but of the texts where both apply gold always leads.
    assert trial(gold=[1.0, 1.0, None], shuffled=[0.5, 0.5, 90.0]).won_by == []


def test_a_reward_that_never_applies_is_won_by_nothing() -> None:
    assert trial(gold=[None, None]).won_by == []


def test_the_texts_are_what_they_are_called(bench: Bench) -> None:
    thoughts, texts = bench.thoughts, bench.texts
    assert texts[TextKind.GOLD] == thoughts.gold and set(texts[TextKind.EMPTY]) == {""}
    assert len(set(texts[TextKind.CONSTANT])) == 1
    for gold, mixed in zip(texts[TextKind.GOLD], texts[TextKind.SHUFFLED], strict=True):
        assert sorted(gold.split()) == sorted(mixed.split())
    assert sum(a == b for a, b in zip(texts[TextKind.GOLD], texts[TextKind.OTHER], strict=True)) < 4
    assert {kind: len(of_kind) for kind, of_kind in texts.items()} == dict.fromkeys(TextKind, len(thoughts))


def test_the_same_seed_gives_the_same_texts(bench: Bench) -> None:
    again = Bench.of(TrialSource(problems=16))
    assert again.texts == bench.texts
    assert (again.rows(["x"]).distractors == bench.rows(["x"]).distractors).all()


def test_others_are_of_the_same_site_and_of_another_question(bench: Bench) -> None:
    thoughts = bench.thoughts
    for row, others in enumerate(other_thoughts(thoughts, thoughts.sites, thoughts.questions, 3, seed=0)):
        assert {thoughts.sites[other] for other in others} == {thoughts.sites[row]}
        assert thoughts.questions[row] not in {thoughts.questions[other] for other in others}


def test_no_other_problem_is_reported(bench: Bench) -> None:
    one = bench.thoughts.take([0])
    with pytest.raises(UserError, match=r"no other problem has a thought at h0.*raise --problems"):
        other_thoughts(one, one.sites, one.questions, 1, seed=0)


def test_hidden_match_sensitive_to_content_and_brevity_does_not(bench: Bench) -> None:
    found = run(find("hidden_match"), bench)
    assert found.won_by == []
    assert set(found.values[TextKind.EMPTY]) == {found.reward.worst}  # as in training
    assert {TextKind.OTHER, TextKind.SHUFFLED, TextKind.CONSTANT} <= set(run(find("brevity"), bench).won_by)


def test_a_reward_that_applies_to_some_rows_only_is_shown_as_it_is(bench: Bench) -> None:
    def some(batch: RewardBatch) -> list[float | None]:
        return [None if row % 2 else 1.0 for row in range(len(batch))]

    assert score(RewardSpec("some", some, 0.0), bench.rows(["a", "b", "c"]), bench) == [1.0, None, 1.0]


def test_without_a_worst_failed_texts_get_the_least_value_of_all_kinds(bench: Bench) -> None:
    """Else a kind that is nothing but failed texts would have no value to lead."""

    def claims_said(batch: RewardBatch) -> list[float | None]:
        said = zip(batch.texts, batch.claims or [], strict=True)
        return [-1.0 - (text.rstrip(".") not in claims) for text, claims in said]

    tried = run(find(claims_said), bench)
    assert tried.reward.worst is None
    assert set(tried.values[TextKind.EMPTY]) == set(tried.values[TextKind.SHUFFLED]) == {-2.0}
    given = bench.rows([*bench.thoughts.gold[:2], ""])
    first, second, failed = score(find(claims_said), given, bench)
    assert None not in (first, second) and failed == min(first or 0.0, second or 0.0)


def test_nan_names_the_reward_and_the_text(bench: Bench) -> None:
    broken = RewardSpec("broken", lambda batch: [math.nan] * len(batch), 0.0)
    with pytest.raises(RewardError, match=r"reward 'broken': returned nan.* = "):
        run(broken, bench)


def test_plain_lines_are_of_the_first_thoughts(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_bytes(b" 12 + 5 = 17 \r\n\r\nno\r\n")
    rows = texts_of(read_records(str(tmp_path / "texts.txt")), bench)
    assert rows.texts == [" 12 + 5 = 17 ", "no"]  # spaces are tokens of many models
    assert (rows.sites, rows.questions) == (bench.thoughts.sites[:2], bench.thoughts.questions[:2])


def test_json_lines_name_their_thought(bench: Bench, tmp_path: Path) -> None:
    thoughts, path = bench.thoughts, tmp_path / "rows.jsonl"
    question, site = thoughts.questions[3], thoughts.sites[3]
    line = f'{{"question": "{question}", "site": "{site}", "%s": "12 + 5 = 17"}}\n'
    path.write_text(line % "text" + line.replace(question, "Ann has 3 apples. She buys 4.") % "translation")
    rows = texts_of(read_records(str(path)), bench)
    assert rows.texts == ["12 + 5 = 17"] * 2 and rows.sites == [site] * 2
    assert rows.targets[0].tolist() == pytest.approx(thoughts.targets[3].tolist(), abs=1e-3)
    assert rows.claims == [thoughts.claims[3], []]  # of an unknown question no claims are known


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no text"),
        ("a\n" * 999, r"999 texts, the trial has \d+ thoughts; raise --problems"),
        ('{"question": "Q", "site": "h1"}', ":1: key 'text' is missing; give it a value"),
        ('{"question": "Q", "site": "h1", "text": "a"}\nb', r":2: .*write one JSON object a line"),
        ('a\n{"question": "Q", "site": "h1", "text": "a"}', ":2 is JSON among plain lines"),
        ('{"question": " ", "site": "h1", "text": "a"}', ":1: 'question' is ' '; give it a non-empty string"),
        ('{"question": "Q", "site": "one", "text": "a"}', ":1: 'one' is no site; write h2"),
        ('{"question": "Q", "site": "h1", "text": "\\ud800"}', ":1: character 1 is half a character"),
        ('{"question": "Q", "site": "h9", "text": "a"}', ":1: no map for site h9; there is one for h0"),
    ],
)
def test_bad_texts_name_their_line(bench: Bench, tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "texts"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        texts_of(read_records(str(path)), bench)
    with pytest.raises(UserError, match=r"no file .*none; check its name"):
        read_records(str(tmp_path / "none"))


def test_a_trial_shows_itself() -> None:
    won = trial(gold=[1.0, 2.0, 3.0, 4.0], constant=[1.0, 2.0, 3.0, 4.0], other=[None, 0.0, 0.0, 0.0])
    lines = repr(won).splitlines()
    assert lines[0] == "Trial of own: 4 thoughts of 4 problems"
    assert "  gold      2.500" in lines and "  constant  2.500" in lines
    assert lines[-1] == "constant texts score as well as gold"
    html = won._repr_html_()
    assert (
        "<tr><td>gold</td><td>4</td><td>2.500</td><td>1.750</td><td>2.500</td><td>3.250</td><td>-</td></tr>"
        in html
    )
    assert "<td>constant</td><td>4</td>" in html and "0.000 [0.000, 0.000]" in html
    frame = won.to_pandas().set_index("texts")
    assert list(frame.columns) == ["n", "mean", "low", "median", "high", "lead"]
    assert frame.n["other"] == 3 and frame["mean"]["gold"] == 2.5
    assert frame.lead["other"] == 3.0 and math.isnan(frame.lead["gold"])
    assert repr(trial(gold=[1.0, 2.0])).endswith("gold leads every worthless kind of text")
