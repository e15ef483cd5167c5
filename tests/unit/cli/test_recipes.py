from __future__ import annotations

import json
from pathlib import Path

import pytest

from reverse_codi.cli.recipes import main

ROOT = Path(__file__).parents[3]


def test_the_recipes_are_listed_with_what_they_are_for(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    [_, header, _, *lines] = capsys.readouterr().out.splitlines()
    assert header.split()[0] == "recipe" and max(map(len, lines)) <= 80
    names = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert names == sorted(file.stem for file in ROOT.glob("recipes/*.yaml"))
    main(["--json"])
    purposes = json.loads(capsys.readouterr().out)
    assert list(purposes) == names and all(len(purpose.split()) > 2 for purpose in purposes.values())
    assert "The embedded model, small enough for two CPU cores" in purposes["tiny"]


def test_one_of_them_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    main(["tiny"])
    assert capsys.readouterr().out == (ROOT / "recipes/tiny.yaml").read_text()
