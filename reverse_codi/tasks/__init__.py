"""Where questions come from."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

from reverse_codi.tasks.arithmetic import Arithmetic
from reverse_codi.tasks.base import Problem, Split, Step, Task, TaskError
from reverse_codi.tasks.gsm8k import GSM8K
from reverse_codi.tasks.jsonl import JsonLines

__all__ = [
    "GSM8K",
    "TASKS",
    "Arithmetic",
    "JsonLines",
    "Problem",
    "Split",
    "Step",
    "Task",
    "TaskError",
    "make_task",
]

TASKS: dict[str, type[Arithmetic | GSM8K | JsonLines]] = {
    "arithmetic": Arithmetic,
    "gsm8k": GSM8K,
    "jsonl": JsonLines,
}
"""Tasks by name; each is a dataclass whose fields are its options."""


def make_task(name: str, **options: Any) -> Task:
    """Build a task by name.

    Args:
        name: a key of `TASKS`.
        **options: fields of its class, e.g. `source` or `max_value`.

    Raises:
        TaskError: unknown name or option (the nearest ones are listed), or a required one is missing.
    """
    if name not in TASKS:
        raise TaskError(f"no task is called {name!r}; {_near(name, list(TASKS))}")
    fields = {field.name: field for field in dataclasses.fields(TASKS[name])}
    for option in options:
        if option not in fields:
            raise TaskError(f"task {name!r} has no option {option!r}; {_near(option, list(fields))}")
    for field in fields.values():
        if field.default is dataclasses.MISSING and field.name not in options:
            raise TaskError(f"task {name!r} needs the option {field.name!r}; set task.options.{field.name}")
    return TASKS[name](**options)


def _near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known)
    return f"did you mean {' or '.join(map(repr, near))}?" if near else f"choose from: {', '.join(known)}"
