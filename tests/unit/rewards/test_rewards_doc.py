"""The tutorial of docs/rewards.md, run as written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from reverse_codi.cli.main import main
from reverse_codi.recipe.reward import RewardSection
from reverse_codi.rewards.registry import find, find_functions, names
from reverse_codi.rewards.signatures import GIVEN
from reverse_codi.utils.config import validated

DOC = (Path(__file__).parents[3] / "docs/rewards.md").read_text()
TUTORIAL = DOC[DOC.index("## A reward in ten lines") : DOC.index("## Without the decorator")]
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
FILE = re.compile(r"`(\w+\.\w+)`[^`]*:\n*\Z")
TABLES = {row.split("`")[1] for row in DOC.splitlines() if row.startswith("| `")}


def steps(text: str) -> list[tuple[str, str]]:
    """Files to write (name, content) and commands to run ("", command), in order."""
    found = []
    for block in BLOCK.finditer(text):
        language, content = block.groups()
        if language == "bash":
            found += [("", line) for line in content.splitlines()]
        else:
            named = FILE.search(text[: block.start()])
            assert named, f"which file is this: {content}"
            found.append((named[1], content))
    return found


def run(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program, *arguments = shlex.split(command)
    if program == "python":
        assert arguments[:2] == ["-m", "pytest"], command
        assert pytest.main([*arguments[2:], "-p", "no:cacheprovider", "--rootdir", "."]) == 0
        return
    assert program == "reverse-codi", command
    try:
        main(arguments)
    except SystemExit as end:
        assert not end.code, f"{command}: {end.code}"


@pytest.mark.long
def test_the_tutorial_runs_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    todo = steps(TUTORIAL)
    files = [name for name, _ in todo if name]
    assert files == ["says_result.py", "texts.txt", "test_says_result.py", "mine.yaml"]
    for name, content in todo:
        if name:
            Path(name).write_text(content)
        else:
            run(content, monkeypatch)
    message = " ".join(capfd.readouterr().out.split())
    assert "is sensitive to content" in message and "says_result" in message
    assert "h0 24 - 9 = 15. 1.000 Ben starts with 24 balls." in message
    assert "h1 10 - 7 = 3. 1.000 " in message
    assert "1 passed" in message


def test_the_reward_is_ten_lines() -> None:
    lines = [line for line in steps(TUTORIAL)[0][1].splitlines() if line.strip()]
    assert len(lines) <= 10


def test_the_function_of_trls_kind_is_a_reward_and_its_arguments_are_listed() -> None:
    [code] = [code for language, code in BLOCK.findall(DOC) if language == "python" and "**kwargs" in code]
    names: dict[str, Any] = {}
    exec(code, names)
    assert find(names["long_enough"]).worst is None
    assert set(GIVEN) <= {name.partition("(")[0] for name in re.findall(r"`([a-z_]+\(?)", DOC)}


def test_every_built_in_reward_is_in_the_tables() -> None:
    assert set(names()) <= TABLES
    built_in = DOC[DOC.index("## Built in") : DOC.index("## Combining")]
    for name in names():
        assert sum(row.startswith(f"| `{name}` |") for row in built_in.splitlines()) == 2, name


def test_the_recipe_of_combinations_is_valid() -> None:
    [recipe] = [content for _, content in BLOCK.findall(DOC) if "aggregation" in content]
    section = validated(RewardSection, yaml.safe_load(recipe)["reward"], "docs/rewards.md")
    assert [function.name for function in find_functions(section)] == [
        "contrastive",
        "hidden_match",
        "answer_preserved",
        "format",
        "brevity",
    ]
