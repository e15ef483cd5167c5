from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reverse_codi.cli.jobs.trajectories import run
from reverse_codi.cli.trajectories import main, named, parser
from reverse_codi.errors import RecipeError
from reverse_codi.reasoners.huginn.reasoner import HuginnReasoner
from tests.fakes import output, printed, screen
from tests.huginn import BOS, make_tiny_huginn

TEXT = "12 + 5 = 17."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("huginn")
    make_tiny_huginn().save_pretrained(path)
    return path


@pytest.fixture
def go(folder: Path, tmp_path: Path) -> Callable[..., tuple[dict[str, Any], str]]:
    def go(*options: str) -> tuple[dict[str, Any], str]:
        console = screen(250)
        words = [str(folder), "--text", TEXT, "--out", str(tmp_path), "--no-plot", *options]
        result = run(named(parser().parse_args(words)), output(console))
        return result, printed(console)

    return go


def test_control_tokens_are_characters_unless_the_text_is_a_template(
    go: Callable[..., tuple[dict[str, Any], str]],
) -> None:
    plain, _ = go("--iterations", "12", "--text", "<pad> 12")
    meant, _ = go("--iterations", "12", "--text", "<pad> 12", "--template")
    tokens = [[row["token"] for row in result["texts"][1]["tokens"]] for result in (plain, meant)]
    assert tokens == [[BOS, "<unk>", "<unk>", "<unk>", "12"], [BOS, "<pad>", "12"]]
    assert [result["texts"][1]["text"] for result in (plain, meant)] == ["<pad> 12"] * 2


def test_one_row_a_token_with_class_numbers_and_lens(
    go: Callable[..., tuple[dict[str, Any], str]], folder: Path, tmp_path: Path
) -> None:
    result, shown = go("--iterations", "12", "--seed", "3", "--text", "12 -", "--answer-tokens", "2")
    assert json.loads((tmp_path / "trajectories.json").read_text()) == result
    reasoner = HuginnReasoner.from_pretrained(folder)
    assert result["reasoner_hash"] == reasoner.content_hash
    assert (result["iterations"], result["seed"]) == (12, 3)
    first, second = result["texts"]
    assert [row["token"] for row in first["tokens"]] == [BOS, "12", "+", "5", "=", "17", "."]
    assert [row["site"] for row in second["tokens"]] == ["t0:12", "t1:12", "t2:12"]
    row = first["tokens"][2]
    [states] = reasoner.read([TEXT], 12, 3)
    seen = reasoner.normed(states)[:, 2].double()
    assert row["last_step"] == pytest.approx(float((seen[12] - seen[11]).norm() / seen[12].norm()))
    assert len(row["lens"]) == 13
    assert row["lens"][12][0] == reasoner.decode([int(reasoner.lens(states[12])[2].argmax())])
    assert sum(first["counts"].values()) == 7
    assert first["answers"] == {
        str(n): reasoner.answer([TEXT], n, 3, max_new_tokens=2)[0] for n in (1, 3, 6, 12)
    }
    for word in ("t6", "'17'", "straightness", "lens 12", row["kind"], "after 12 iterations a token"):
        assert word in shown


def test_the_same_command_writes_the_same_file(
    go: Callable[..., tuple[dict[str, Any], str]], tmp_path: Path
) -> None:
    go("--iterations", "8")
    first = (tmp_path / "trajectories.json").read_bytes()
    go("--iterations", "8")
    assert (tmp_path / "trajectories.json").read_bytes() == first


def test_what_does_not_fit_is_one_line(
    go: Callable[..., tuple[dict[str, Any], str]],
    folder: Path,
    tmp_path: Path,
    tiny_folders: tuple[Path, Path],
) -> None:
    with pytest.raises(RecipeError, match="--iterations 4: give 8 or more"):
        go("--iterations", "4")
    # The model's own mean is 4 here, too few as well.
    with pytest.raises(
        RecipeError, match="trained with 4 iterations on average; give --iterations 8 or more"
    ):
        go()
    with pytest.raises(RecipeError, match="90 tokens, but the model has 64 positions"):
        go("--iterations", "8", "--text", " ".join(["12"] * 89))
    for model, message in ((tiny_folders[0], "no recurrent-depth model"), (tmp_path / "no", "is no folder")):
        with pytest.raises(RecipeError, match=message):
            main([str(model), "--text", TEXT, "--out", str(tmp_path / "out"), "--no-plot"])
    assert not (tmp_path / "out").exists()
