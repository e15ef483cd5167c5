from __future__ import annotations

import json
from pathlib import Path

import pytest

from reverse_codi.storage.stages import INPUTS_FILE, StageError, check_settings, finished, record, take_over

INPUTS = {"warm_start": {"steps": 5, "rate": 0.1}, "sites": ("h0", "h1")}


def made(folder: Path, *files: str) -> Path:
    record(folder, INPUTS)
    for name in files:
        (folder / name).write_text("made")
    return folder


def test_a_stage_is_finished_when_its_files_are_there(tmp_path: Path) -> None:
    assert not finished(tmp_path / "none", INPUTS, ("maps",))
    made(tmp_path, "maps")
    assert finished(tmp_path, INPUTS, ("maps",))
    assert not finished(tmp_path, INPUTS, ("maps", "held"))


def test_other_inputs_are_named_with_both_values_and_the_way_out(tmp_path: Path) -> None:
    made(tmp_path, "maps")
    now = {"warm_start": {"steps": 6, "rate": 0.1}, "rank": 8, "sites": ["h0", "h1"]}
    with pytest.raises(StageError) as error:
        finished(tmp_path, now, ("maps",))
    assert str(error.value) == (
        f"{tmp_path} was made with rank = not set, now 8; warm_start.steps = 5, now 6; set another folder "
        "for this run, or move that one away to make it anew"
    )


def test_many_differences_are_counted(tmp_path: Path) -> None:
    made(tmp_path, "maps")
    with pytest.raises(StageError, match=r"k4 = not set, now 4; k5 = not set, now 5; and 7 more; set"):
        finished(tmp_path, {f"k{i}": i for i in range(10)}, ("maps",))


def test_an_unfinished_stage_may_start_with_other_settings_unless_it_would_go_on_from_a_checkpoint(
    tmp_path: Path,
) -> None:
    made(tmp_path)
    other = {**INPUTS, "sites": []}
    assert not finished(tmp_path, other, ("maps",), resumable=("checkpoint-*",))
    (tmp_path / "checkpoint-5").mkdir()
    assert not finished(tmp_path, INPUTS, ("maps",), resumable=("checkpoint-*",))
    with pytest.raises(StageError, match="sites = "):
        finished(tmp_path, other, ("maps",), resumable=("checkpoint-*",))


def test_work_of_unknown_origin_is_refused(tmp_path: Path) -> None:
    (tmp_path / "maps").touch()
    with pytest.raises(StageError, match=r"has no inputs\.json, so nothing says what it was made from"):
        finished(tmp_path, INPUTS, ("maps",))


def test_what_was_taken_over_is_used_whatever_the_settings_are(tmp_path: Path) -> None:
    source = made(tmp_path / "one", "maps", "held")
    take_over(source, tmp_path / "all")
    take_over(source, tmp_path / "some", ("maps",))
    assert finished(tmp_path / "all", {"other": 1}, ("maps", "held"))
    assert finished(tmp_path / "some", {"other": 1}, ("maps",)) and not (tmp_path / "some" / "held").exists()
    assert str(source) in json.loads((tmp_path / "some" / INPUTS_FILE).read_text()).values()


def test_what_is_known_before_work_is_checked_before_work(tmp_path: Path) -> None:
    made(tmp_path)
    check_settings(tmp_path, {"warm_start": {"steps": 6}}, ("maps",))  # nothing there to use
    (tmp_path / "maps").write_text("made")
    check_settings(tmp_path, {"warm_start": INPUTS["warm_start"]}, ("maps",))  # sites are not known yet
    with pytest.raises(StageError, match=r"with warm_start\.rate = 0\.1, now not set; warm_start\.steps = 5"):
        check_settings(tmp_path, {"warm_start": {"steps": 6}}, ("maps",))
    take_over(tmp_path, tmp_path / "other", ("maps",))
    check_settings(tmp_path / "other", {"warm_start": {"steps": 6}}, ("maps",))
