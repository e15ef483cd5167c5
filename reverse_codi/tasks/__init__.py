"""Where questions come from."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

from pydantic import TypeAdapter, ValidationError

from reverse_codi.tasks.arithmetic import Arithmetic
from reverse_codi.tasks.base import Problem, Split, Step, Task, TaskError
from reverse_codi.tasks.commonsense import CommonsenseQA, StrategyQA
from reverse_codi.tasks.deduction import ProntoQA, ProsQA
from reverse_codi.tasks.graph import Graph
from reverse_codi.tasks.gsm8k import GSM8K, GSM8kAug
from reverse_codi.tasks.gym import ReasoningGym
from reverse_codi.tasks.jsonl import JsonLines
from reverse_codi.tasks.word_problems import SVAMP, GSMHard, MultiArith

__all__ = [
    "GSM8K",
    "TASKS",
    "Arithmetic",
    "Graph",
    "JsonLines",
    "Problem",
    "Split",
    "Step",
    "Task",
    "TaskError",
    "known_task",
    "make_task",
]

TASKS: dict[str, type[Any]] = {
    "arithmetic": Arithmetic,
    "graph": Graph,
    "gsm8k": GSM8K,
    "gsm8k_aug": GSM8kAug,
    "svamp": SVAMP,
    "multiarith": MultiArith,
    "gsm_hard": GSMHard,
    "prosqa": ProsQA,
    "prontoqa": ProntoQA,
    "commonsenseqa": CommonsenseQA,
    "strategyqa": StrategyQA,
    "reasoning_gym": ReasoningGym,
    "jsonl": JsonLines,
}
"""Tasks by name; each is a dataclass whose fields are its options."""


def known_task(name: str) -> str:
    """Return `name` if a task has this name.

    Raises:
        TaskError: no task has it; the message lists the nearest names.
    """
    if name not in TASKS:
        raise TaskError(f"no task has the name {name!r}; {_near(name, list(TASKS))}")
    return name


def make_task(name: str, /, **options: Any) -> Task:
    """Build a task by name, without reading its data.

    Args:
        name: a key of `TASKS`.
        **options: fields of its class, e.g. `source` or `max_value`.

    Raises:
        TaskError: a name or option is unknown (the message lists the nearest ones), a value has another type
            or is out of range, or a required option is missing.
    """
    task = TASKS[known_task(name)]
    fields = {field.name: field for field in dataclasses.fields(task)}
    for option in options:
        if option not in fields:
            raise TaskError(f"task {name!r} has no option {option!r}; {_near(option, list(fields))}")
    for field in fields.values():
        if field.default is dataclasses.MISSING and field.name not in options:
            key = "path" if field.name == "source" else f"options.{field.name}"
            raise TaskError(f"task {name!r} needs the option {field.name!r}; set task.{key}")
    try:
        made: Task = TypeAdapter(task).validate_python(options)
    except ValidationError as error:
        raise TaskError("; ".join(_explain(dict(problem)) for problem in error.errors())) from None
    return made


def _explain(problem: dict[str, Any]) -> str:
    """Word one validation error as recipes do; a task's own error keeps its message."""
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, TaskError):
        return str(cause)
    key = ".".join(map(str, ("task", "options", *problem["loc"])))
    return f"{key} = {problem['input']!r}: {problem['msg'][0].lower()}{problem['msg'][1:]}"


def _near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name.lower().replace("-", "_"), known)
    return f"did you mean {' or '.join(map(repr, near))}?" if near else f"choose from: {', '.join(known)}"
