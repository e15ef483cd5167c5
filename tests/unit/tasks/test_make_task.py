from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reverse_codi.tasks import TASKS, Arithmetic, Graph, JsonLines, TaskError, make_task

DOCS = Path(__file__).parents[3] / "docs/tasks.md"


def test_make_task_builds_every_task() -> None:
    assert make_task("arithmetic", max_value=40) == Arithmetic(max_value=40)
    assert make_task("jsonl", source="a.jsonl") == JsonLines(source="a.jsonl")
    # YAML has lists only.
    assert make_task("graph", step_weights=[[2, 1]]) == Graph(step_weights=((2, 1.0),))
    for name, task in TASKS.items():
        options = {"source": "x.json"} if name in ("prosqa", "prontoqa", "jsonl") else {}
        assert isinstance(make_task(name, **options), task)


def test_every_task_is_documented() -> None:
    rows = {line.split("|")[1].strip() for line in DOCS.read_text().splitlines() if line.startswith("| `")}
    assert rows >= {f"`{name}`" for name in TASKS}
    hubs = {task.source for task in TASKS.values() if "/" in getattr(task, "source", "")}
    assert len(hubs) == 7
    assert all(f"`{hub}`" in DOCS.read_text() for hub in hubs)


@pytest.mark.parametrize(
    ("name", "options", "named"),
    [
        ("gsm8", {}, "did you mean 'gsm8k'"),
        ("ProsQA", {}, "did you mean 'prosqa'"),
        ("GSM8k-Aug", {}, "did you mean 'gsm8k_aug'"),
        ("zzz", {}, "choose from: arithmetic, graph, gsm8k"),
        ("arithmetic", {"max_valeu": 3}, "did you mean 'max_value'"),
        ("jsonl", {"path": "x"}, "source"),
        ("jsonl", {}, "set task.path"),
        ("prosqa", {}, "set task.path"),
        (
            "arithmetic",
            {"max_value": "many"},
            r"task\.options\.max_value = 'many': input should be a valid int",
        ),
        ("arithmetic", {"max_value": 3}, "arithmetic: max_value 3"),
        ("gsm8k", {"heldout_percent": 0}, "heldout_percent is 0; set it to 1..99"),
        ("gsm8k", {"on_bad_row": "drop"}, r"on_bad_row = 'drop': input should be 'error' or 'skip'"),
        ("gsm8k", {"bad_rows": 1}, "no option 'bad_rows'; did you mean 'on_bad_row'"),
        ("reasoning_gym", {"heldout_percent": 100}, "heldout_percent is 100"),
    ],
)
def test_make_task_names_what_is_wrong(name: str, options: dict[str, Any], named: str) -> None:
    with pytest.raises(TaskError, match=named):
        make_task(name, **options)
