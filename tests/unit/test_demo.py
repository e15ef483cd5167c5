from __future__ import annotations

from pathlib import Path

import pytest

from reverse_codi.config import RecipeError
from reverse_codi.demo import empty


def test_an_earlier_demo_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    empty(tmp_path / "demo")
    (tmp_path / "demo/best").mkdir()
    empty(tmp_path / "demo")
    assert not (tmp_path / "demo/best").exists()
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(RecipeError, match="choose another --out"):
        empty(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "precious"
