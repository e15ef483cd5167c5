from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from reverse_codi.errors import UserError
from reverse_codi.processes import stopping
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.grpo import GrpoSection, Keep
from reverse_codi.rewards.scoring import Scores
from reverse_codi.training.monitor import Monitor
from reverse_codi.training.records import Completions, rewind
from reverse_codi.training.rollouts import Phases
from reverse_codi.utils.finite import NotFiniteError
from reverse_codi.verbalize.scores import Scored
from tests.tiny import make_rows


class Saver:
    """A policy whose weights are the version that it was synced to."""

    version = 0

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "weights").write_text(str(self.version))


class Sync:
    difference = 0.001

    def __init__(self) -> None:
        self.policy = Saver()

    def __call__(self, step: int) -> int:
        self.policy.version = step + 1
        return step + 1


def scored(content: float, match: float) -> Scored:
    right = torch.tensor([content])
    return Scored(torch.tensor([1 - match]), torch.ones(1), 0.0, right, right, right, ["x"])


def make_monitor(out: Path, contents: list[float], keep: Keep = "content") -> Monitor:
    figures = iter(contents)
    scalars = {"rollout/match": 0.1, "rollout/distinct": 1.0}
    sync = Sync()
    rollouts = SimpleNamespace(phases=Phases(), scalars=scalars, sync=sync, bring=sync)
    # match falls while content rises and the other way round
    evaluate = lambda version: scored(c := next(figures), 1 - c)  # noqa: E731
    return Monitor(rollouts, evaluate, GrpoSection(eval_every=2, keep=keep), out)  # type: ignore[arg-type]


ARGUMENTS: Any = SimpleNamespace(learning_rate=1e-4)


def state(step: int, last: int = 100) -> Any:
    return SimpleNamespace(
        global_step=step, max_steps=last, log_history=[], compute_steps=lambda args, steps: None
    )


def control(save: bool = False) -> Any:
    return SimpleNamespace(should_save=save)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(monitor: Monitor, first: int, last: int) -> None:
    monitor.on_train_begin(ARGUMENTS, state(first), control())
    for step in range(first + 1, last + 1):
        monitor.on_log(ARGUMENTS, state(step), control(), {"loss": 0.1, "reward": 0.2, "step_time": 5.0})
        monitor.on_step_end(ARGUMENTS, state(step, last), control())


def best(out: Path) -> tuple[str, int]:
    return (out / "best/weights").read_text(), json.loads((out / "best.json").read_text())["step"]


def test_the_best_is_kept_by_content_not_by_match(tmp_path: Path) -> None:
    run(make_monitor(tmp_path, [0.2, 0.5, 0.4, 0.5]), 0, 5)
    assert best(tmp_path) == ("3", 2)  # step 2, saved as it was then
    encoded = [line for line in lines(tmp_path / "metrics.jsonl") if "heldout/claim" in line]
    assert [line["step"] for line in encoded] == [0, 2, 4, 5]  # every 2 steps and at the end
    assert encoded[1]["heldout/claim"] == 0.5
    assert encoded[1]["heldout/match"] == pytest.approx(0.5)


@pytest.mark.parametrize(("keep", "step"), [("match", 0), ("last", 5)])
def test_others_are_kept_where_the_recipe_says_so(tmp_path: Path, keep: Keep, step: int) -> None:
    run(make_monitor(tmp_path, [0.2, 0.5, 0.4, 0.5], keep), 0, 5)
    assert best(tmp_path) == (str(step + 1), step)


def test_the_held_out_curve_reaches_the_tracker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, float]] = []
    monkeypatch.setattr(
        "reverse_codi.training.monitor.log_point",
        lambda figures, step: sent.append((step, figures["heldout/claim"])),
    )
    run(make_monitor(tmp_path, [0.25, 0.5, 0.75]), 0, 3)
    assert sent == [(0, 0.25), (2, 0.5), (3, 0.75)]


def test_the_warm_start_may_stay_the_best(tmp_path: Path) -> None:
    run(make_monitor(tmp_path, [0.5, 0.4]), 0, 2)
    assert best(tmp_path) == ("1", 0)


def test_a_resumed_run_keeps_the_best_that_it_had(tmp_path: Path) -> None:
    run(make_monitor(tmp_path, [0.2, 0.6]), 0, 2)
    run(make_monitor(tmp_path, [0.5]), 2, 4)
    assert best(tmp_path) == ("3", 2)
    run(make_monitor(tmp_path, [0.7]), 4, 6)
    assert best(tmp_path) == ("7", 6)


def test_a_resumed_run_whose_best_was_lost_evaluates_at_once(tmp_path: Path) -> None:
    (tmp_path / "best.json").write_text('{"step": 2, "worth": 0.9}')  # without its folder
    run(make_monitor(tmp_path, [0.3, 0.2]), 2, 4)
    assert best(tmp_path) == ("3", 2)


def test_a_best_that_cannot_be_saved_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    monitor = make_monitor(tmp_path, [0.2, 0.1, 0.5])
    run(monitor, 0, 1)

    def full(folder: Path) -> None:
        (folder / "weights").write_text("half")
        raise OSError("no space left")

    monitor.sync.policy.save = full  # type: ignore[method-assign, assignment]
    with pytest.raises(OSError, match="no space"):
        run(monitor, 1, 2)
    assert best(tmp_path) == ("1", 0)
    assert not list(tmp_path.glob("*.tmp"))


def test_a_best_that_was_written_as_nan_does_not_stay_for_ever(tmp_path: Path) -> None:
    for worth in ("NaN", "null"):
        (tmp_path / "best").mkdir(exist_ok=True)
        (tmp_path / "best.json").write_text(f'{{"step": 2, "worth": {worth}}}')
        run(make_monitor(tmp_path, [0.3, 0.2]), 2, 4)
        assert best(tmp_path) == ("3", 2)


def test_a_worth_that_is_no_number_stops_the_run_and_the_best_stays(tmp_path: Path) -> None:
    with pytest.raises(NotFiniteError, match=r"match of the held-out translations after 2 steps is nan"):
        run(make_monitor(tmp_path, [0.4, float("nan")], "match"), 0, 2)
    assert best(tmp_path) == ("1", 0)
    assert lines(tmp_path / "metrics.jsonl")[-1]["heldout/match"] is None
    run(make_monitor(tmp_path / "last", [0.4, float("nan")], "last"), 0, 2)
    assert best(tmp_path / "last") == ("3", 2)


def test_no_line_holds_a_bare_nan_and_a_loss_of_nan_stops_the_run(tmp_path: Path) -> None:
    monitor, now = make_monitor(tmp_path, []), state(1)
    now.log_history = [{"loss": 0.5, "rewards/a/mean": float("nan"), "step": 1}]
    monitor.on_log(ARGUMENTS, now, control(), {"loss": 0.5, "rewards/a/mean": float("nan")})
    assert now.log_history == [{"loss": 0.5, "rewards/a/mean": None, "step": 1}]
    with pytest.raises(NotFiniteError, match=r"loss of step 2 is nan; lower grpo\.learning_rate"):
        monitor.on_log(ARGUMENTS, state(2), control(), {"loss": float("nan")})
    first, second = lines(tmp_path / "metrics.jsonl")
    assert (first["rewards/a/mean"], second["loss"]) == (None, None)
    assert "NaN" not in (tmp_path / "metrics.jsonl").read_text()


def test_actors_follow_before_a_checkpoint_is_saved(tmp_path: Path) -> None:
    monitor = make_monitor(tmp_path, [])
    monitor.on_step_end(ARGUMENTS, state(3), control())
    assert monitor.sync.policy.version == 0  # type: ignore[attr-defined]
    monitor.on_step_end(ARGUMENTS, state(3), control(save=True))
    assert monitor.sync.policy.version == 4  # type: ignore[attr-defined]


def test_each_step_has_its_phases_and_what_is_left_is_the_trainers(tmp_path: Path) -> None:
    monitor = make_monitor(tmp_path, [])
    monitor.rollouts.phases.add("generate", 2.0)
    monitor.rollouts.phases.add("read", 1.0)
    logs = {"loss": 0.1, "reward": 0.2, "step_time": 5.0}
    monitor.on_log(ARGUMENTS, state(1), control(), logs)
    [line] = lines(tmp_path / "metrics.jsonl")
    assert (line["seconds/generate"], line["seconds/read"], line["seconds/train"]) == (2.0, 1.0, 2.0)
    assert (line["step"], line["sync/canary"], line["rollout/match"]) == (1, 0.001, 0.1)
    assert logs["seconds/train"] == 2.0  # W&B gets them too
    monitor.on_log(ARGUMENTS, state(1), control(), {"train_runtime": 3.0})
    assert len(lines(tmp_path / "metrics.jsonl")) == 1


def test_completions_are_rows_of_texts_with_rewards(tmp_path: Path) -> None:
    rows = make_rows(["12 + 5 = 17.", "?"], torch.zeros(2, 3), Site("h", 1), policy_version=4)
    scores = Scores(
        raw={"step": [0.5, None], "match": [0.75, 1.0]},
        columns={"step": [-1.0, None], "match": [0.75, 1.0]},
        weights={"step": 0.1, "match": 0.0},
        total=[-0.1, 0.0],
        match=[0.25, None],
        scalars={},
        read_s=0.0,
        reward_s=0.0,
        n_read=2,
    )
    Completions(tmp_path / "completions.jsonl")(3, rows, scores)
    first, second = lines(tmp_path / "completions.jsonl")
    assert first == {
        "step": 3, "policy": 4, "site": "h1", "question": "question 0", "text": "12 + 5 = 17.",
        "match": 0.25, "total": -0.1, "reward/step": 0.5, "reward/match": 0.75,
    }  # fmt: skip
    assert (second["match"], second["reward/step"], second["reward/match"]) == (None, None, 1.0)
    rewind(tmp_path, 4)  # a resumed run keeps them
    assert lines(tmp_path / "completions.jsonl") == [first, second]


def test_a_run_of_an_earlier_version_is_resumed_under_the_new_names(tmp_path: Path) -> None:
    own = {"policy": 1, "site": "h1", "question": "q", "text": "t", "match": 0.5, "total": 1.0}
    old = [{"step": step, **own, "hidden_match": 0.5, "brevity": None} for step in (0, 1, 2)]
    file = tmp_path / "completions.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in old))
    [message] = rewind(tmp_path, 2)
    assert "completions.jsonl is of an earlier version" in message and "called reward/NAME" in message
    expected = [{"step": s, **own, "reward/hidden_match": 0.5, "reward/brevity": None} for s in (0, 1)]
    assert lines(file) == expected
    with file.open("a") as end:  # an earlier version may have gone on since
        end.write(json.dumps(old[2]) + "\n")
    assert rewind(tmp_path, 3) and lines(file)[2] == {**expected[0], "step": 2}
    assert rewind(tmp_path, 3) == []


@pytest.mark.parametrize("name", ["completions.jsonl", "metrics.jsonl"])
def test_steps_that_an_earlier_version_lost_are_reported(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text('{"step": 0}\n{"step": -0.25}\n')
    with pytest.raises(UserError, match=rf"{name} has a line of step -0\.25: an earlier.*move the file away"):
        rewind(tmp_path, 1)
    assert lines(tmp_path / name) == [{"step": 0}, {"step": -0.25}]
    assert rewind(tmp_path, 0) == [] and lines(tmp_path / name) == []  # a new run keeps nothing of it


def test_rewind_drops_what_is_done_again(tmp_path: Path) -> None:
    metrics, completions = tmp_path / "metrics.jsonl", tmp_path / "completions.jsonl"
    metrics.write_text("".join(json.dumps({"step": s}) + "\n" for s in (0, 1, 2, 3)) + '{"step": 4, "lo')
    completions.write_text("".join(json.dumps({"step": s}) + "\n" for s in (0, 0, 1, 1, 2)))
    (tmp_path / "best").mkdir()
    (tmp_path / "best.json").write_text("{}")
    rewind(tmp_path, 2)
    assert [line["step"] for line in lines(metrics)] == [0, 1, 2]
    assert [line["step"] for line in lines(completions)] == [0, 0, 1, 1]  # sampled before steps 1 and 2
    assert (tmp_path / "best").is_dir()
    rewind(tmp_path, 0)
    assert lines(metrics) == lines(completions) == []
    assert not (tmp_path / "best").exists()
    assert not (tmp_path / "best.json").exists()
    rewind(tmp_path / "new", 0)  # nothing there: nothing to do


def test_a_step_on_the_batch_before_does_not_show_a_reward_of_0(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monitor = make_monitor(tmp_path, [])
    with caplog.at_level("INFO", "reverse_codi.training.monitor"):
        monitor.on_log(ARGUMENTS, state(1), control(), {"loss": 0.1, "reward": -0.25, "step_time": 5.0})
        monitor.on_log(ARGUMENTS, state(2), control(), {"loss": 0.1, "step_time": 5.0})
    assert "reward -0.250  match" in caplog.messages[0]
    assert "the batch again  match" in caplog.messages[1]


def test_steps_that_a_cut_file_lost_are_told_and_a_torn_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    whole = "".join(json.dumps({"step": s, "loss": 0.5}) + "\n" for s in (1, 2, 3, 4))
    file.write_text(whole)
    assert rewind(tmp_path, 4) == []
    file.write_text(whole[:40])  # within the second step's line
    [said] = rewind(tmp_path, 4)
    assert said.startswith(f"{file} has no line of steps 2, 3, 4, which the checkpoint has behind it")
    file.write_text("")
    assert "no line of steps 1, 2, 3, 4, 5, 6 and 3 more" in rewind(tmp_path, 9)[0]
    file.write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "lo\n{"step": 3, "loss": 0.5}\n')
    with pytest.raises(UserError, match=rf"^{file}:2: this line is no JSON object"):
        rewind(tmp_path, 3)


def test_a_kill_between_best_and_what_readers_see_of_it_is_mended(tmp_path: Path) -> None:
    run(make_monitor(tmp_path, [0.2, 0.6]), 0, 2)
    (tmp_path / "best.json").write_text('{"step": 0, "worth": 0.2}')  # of the best before
    assert make_monitor(tmp_path, []).best == pytest.approx(0.6)
    assert best(tmp_path) == ("3", 2)
    (tmp_path / "best/best.json").write_text('{"step": 2, "wor')
    with pytest.raises(UserError, match=r"best\.json is cut or damaged.*remove .*best, and the run"):
        make_monitor(tmp_path, [])


def test_a_run_that_is_stopped_leaves_its_evaluation_to_the_one_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = make_monitor(tmp_path, [0.2])
    monitor.on_train_begin(ARGUMENTS, state(0), control())
    monkeypatch.setattr(stopping, "asked", lambda: True)
    monitor.on_step_end(ARGUMENTS, state(2), control(save=True))
    assert [line["step"] for line in lines(tmp_path / "metrics.jsonl")] == [0]
    monkeypatch.undo()
    make_monitor(tmp_path, [0.5]).on_train_begin(ARGUMENTS, state(2), control())
    assert best(tmp_path) == ("3", 2)
    make_monitor(tmp_path, []).on_train_begin(ARGUMENTS, state(2), control())  # it is evaluated now
    make_monitor(tmp_path, []).on_train_begin(ARGUMENTS, state(3), control())  # and this was never due
    assert [line["step"] for line in lines(tmp_path / "metrics.jsonl")] == [0, 2]


def test_the_last_step_is_evaluated_also_where_a_signal_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "asked", lambda: True)
    make_monitor(tmp_path, [0.5]).on_step_end(ARGUMENTS, state(7, last=7), control(save=True))
    assert best(tmp_path) == ("8", 7)
