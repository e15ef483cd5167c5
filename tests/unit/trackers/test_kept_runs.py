from __future__ import annotations

from pathlib import Path

from reverse_codi.trackers.kept_runs import KeptRuns


def test_a_run_that_goes_on_keeps_its_id_and_a_new_one_gets_another(tmp_path: Path) -> None:
    first = KeptRuns(tmp_path)
    warm, grpo = first.id_of("warm start", again=False), first.id_of("grpo", again=True)  # there was none
    later = KeptRuns(tmp_path)
    assert later.group == first.group
    assert later.id_of("grpo", again=True) == grpo
    assert later.id_of("warm start", again=False) != warm
    assert KeptRuns(tmp_path).runs == {"grpo": grpo, "warm start": later.runs["warm start"]}


def test_two_trainings_are_two_groups_and_an_evaluation_joins_its_own(tmp_path: Path) -> None:
    one, other = KeptRuns(tmp_path / "a/train"), KeptRuns(tmp_path / "b/train")
    assert one.group != other.group and one.group.startswith("a-train-")
    one.id_of("train", again=False)
    assert KeptRuns(tmp_path / "evaluate", beside=tmp_path / "a/train").group == one.group
    alone = KeptRuns(tmp_path / "evaluate", beside=tmp_path / "b/train")  # which never had a run
    assert alone.group not in (one.group, other.group)
