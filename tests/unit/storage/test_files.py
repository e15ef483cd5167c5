from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from reverse_codi.storage.files import NotJsonError, figures_json, strict_json, whole_file, write_whole
from reverse_codi.storage.folders import whole_folder

NAN, INF = float("nan"), float("inf")
PACKAGE = Path(__file__).parents[3] / "reverse_codi"
# These make hashes, command-line words, cells or defaults for people of it, or round what another made.
NO_WRITERS = {
    "cli/jobs/ablation.py",
    "cli/check_reasoner.py",
    "cli/recipe_keys.py",
    "storage/files.py",
    "reasoners/checkpoints/convert.py",
    "reasoners/hashing.py",
    "recipe/schema.py",
    "cli/rewards.py",
    "storage/rows_file.py",
}


def refuse(name: str) -> float:
    raise ValueError(name)


def test_figures_that_are_no_numbers_become_null() -> None:
    text = figures_json(
        {"a": NAN, "b": [1.5, INF, (-INF, 2)], "c": {"d": NAN}, "e": "NaN", "f": None, "g": 0}
    )
    found = json.loads(text, parse_constant=refuse)
    assert found == {"a": None, "b": [1.5, None, [None, 2]], "c": {"d": None}, "e": "NaN", "f": None, "g": 0}
    assert "\n" in figures_json({"a": 1}, indent=1)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"accuracy": {"h1/3": [0.5, NAN]}}, r"accuracy\.h1/3\.1 = nan"),
        ([INF], "0 = inf"),
        (NAN, "the value = nan"),
    ],
)
def test_what_is_read_back_may_hold_none_and_the_place_is_named(value: object, place: str) -> None:
    with pytest.raises(NotJsonError, match=f"^{place} is not a finite number"):
        strict_json(value)


def test_strict_json_is_plain_json() -> None:
    value = {"a": [1, 2.5, "x", None, True], "b": {"c": -0.0}}
    assert json.loads(strict_json(value)) == value
    assert math.copysign(1, json.loads(strict_json(-0.0))) == -1


def test_every_writer_of_json_uses_the_two_helpers() -> None:
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if re.search(r"\bjson\.dumps?\(", path.read_text())
    }
    assert users <= NO_WRITERS, (
        "write JSON by files.figures_json (figures) or files.strict_json (what is read back)"
    )


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_whole(path, "old")
    with pytest.raises(KeyboardInterrupt), whole_file(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
    assert path.read_text() == "old"
    write_whole(path, "new")
    assert path.read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_takes_the_place_of_the_old_one_when_it_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "best"
    for word in ("old", "new"):
        with whole_folder(folder) as temporary:
            (temporary / word).touch()
            assert temporary.parent == folder.parent
        assert [file.name for file in folder.iterdir()] == [word]
    with pytest.raises(OSError, match="full"), whole_folder(folder) as temporary:
        (temporary / "half").touch()
        raise OSError("full")
    assert [file.name for file in folder.iterdir()] == ["new"]
    assert list(folder.parent.iterdir()) == [folder]


def test_one_that_another_process_made_meanwhile_can_stay(tmp_path: Path) -> None:
    folder = tmp_path / "converted"
    with whole_folder(folder, replace=False) as temporary:
        (temporary / "mine").touch()
        folder.mkdir()
        (folder / "theirs").touch()
    assert [file.name for file in folder.iterdir()] == ["theirs"]
    assert list(tmp_path.iterdir()) == [folder]
