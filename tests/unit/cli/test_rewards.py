from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from reverse_codi.cli.rewards import main, verdict
from reverse_codi.errors import RecipeError, UserError
from reverse_codi.evaluation.reward_trials.bench import TextKind
from reverse_codi.evaluation.reward_trials.trial import Trial
from reverse_codi.rewards.declare import RewardSpec
from reverse_codi.rewards.registry import names
from reverse_codi.utils.bootstrap import Interval
from reverse_codi.utils.command import run_verb

NAN = """
from reverse_codi import reward

@reward(worst=0.0)
def broken(batch):
    return [float("nan")] * len(batch)
"""


def test_list_names_every_reward_and_says_which_are_supervised(capsys: pytest.CaptureFixture[str]) -> None:
    main(["list"])
    lines = capsys.readouterr().out.splitlines()
    for name in names():
        assert any(name in line for line in lines)
    assert [line.split()[0] for line in lines if "supervised" in line] == ["gold_claim"]


def test_show_tells_docstring_source_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    main(["show", "contrastive"])
    message = capsys.readouterr().out
    assert "contrastive, worst -1" in message and "contrastive.py" in message
    assert "Log-probability of the own thought among others" in message
    assert "near_misses" in message and "Near-miss texts made of each text" in message
    main(["show", "answer_preserved"])
    assert "no options" in capsys.readouterr().out


def test_a_wrong_name_lists_the_near_ones() -> None:
    with pytest.raises(RecipeError, match="named 'contrasting'; did you mean 'contrastive'"):
        main(["show", "contrasting"])


def test_try_prints_the_distribution_and_what_can_win(capsys: pytest.CaptureFixture[str]) -> None:
    main(["try", "brevity", "--problems", "8", "--set", "budget=40"])
    message = " ".join(capsys.readouterr().out.split())  # as wide as it may be
    assert all(kind in message for kind in TextKind)
    assert "Warning: other, shuffled, constant texts score as well as gold." in message
    assert "brevity is not sensitive to content" in message


def test_try_scores_given_texts_as_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"one two three\na\n")))
    options = ["--set", "budget=2", "--set", "span=4", "--problems", "8", "--json", "--texts", "-"]
    main(["try", "brevity", *options])
    found = json.loads(capsys.readouterr().out)
    assert [(row["site"], row["text"], row["value"]) for row in found["texts"]] == [
        ("h0", "one two three", -0.25),
        ("h1", "a", 0.0),
    ]
    assert found["kinds"]["empty"]["mean"] == found["worst"] == -1.0
    assert list(found["kinds"]) == list(TextKind) and "constant" in found["won_by"]


def test_where_a_reward_does_not_apply_figures_are_null(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "never.py").write_text(NAN.replace('float("nan")', "None"))
    main(["try", f"{tmp_path}/never.py:broken", "--problems", "8", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["kinds"]["gold"] == {"n": 0, "mean": None, "low": None, "median": None, "high": None}


@pytest.mark.parametrize(
    ("returned", "error"),
    [
        ('[float("nan")] * len(batch)', r"returned nan.*text '"),
        ('{"content": [0.5] * len(batch)}', "returned a dict with the keys 'content'; return a list of "),
        ("exit(0)", r"raised SystemExit at \S+own\.py:6 on .*text '"),
    ],
)
def test_what_breaks_the_rules_exits_with_the_rewards_name(returned: str, error: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(NAN.replace('[float("nan")] * len(batch)', returned))
    with pytest.raises(SystemExit, match=rf"error: reward 'broken': {error}"):
        run_verb(lambda: main(["try", f"{tmp_path}/own.py:broken", "--problems", "8"]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "budgets=3"], "unknown key 'budgets'; did you mean 'budget'"),
        (["--problems", "1"], "problems = 1"),
        (["--texts", "nowhere.txt"], "no file nowhere.txt"),
    ],
)
def test_errors_name_the_fix(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        main(["try", "brevity", "--problems", "8", *arguments])


def test_the_verdict_of_what_never_applies() -> None:
    values = {kind: [None] for kind in TextKind}
    never = Trial(RewardSpec("own", lambda batch: [], 0.0), dict(values), [0])
    assert "applies to none of these thoughts" in verdict(never)
    assert isinstance(never.lead(TextKind.EMPTY), Interval)
