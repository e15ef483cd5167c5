from __future__ import annotations

from pathlib import Path

import pytest

from reverse_codi.cli.recipes import main

ROOT = Path(__file__).parents[3]


def test_the_recipes_are_listed_with_what_they_are_for(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(file.stem for file in ROOT.glob("recipes/*.yaml"))
    assert all(len(line.split()) > 3 for line in lines)
    assert "The embedded model, small enough for two CPU cores" in "\n".join(lines)


def test_one_of_them_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    main(["tiny"])
    assert capsys.readouterr().out == (ROOT / "recipes/tiny.yaml").read_text()
