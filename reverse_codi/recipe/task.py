"""Where questions come from."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from reverse_codi.tasks import TASKS, known_task, make_task
from reverse_codi.tasks.base import Task, TaskError
from reverse_codi.utils.config import Section


class TaskSection(Section):
    """Where questions come from."""

    name: Annotated[str, AfterValidator(known_task)] = "arithmetic"
    """Name of the task (docs/tasks.md): arithmetic, graph, gsm8k, prosqa, jsonl, ..."""
    path: str | None = Field(default=None, exclude_if=lambda path: path is None)
    """Hub id, file or folder of the data; by default the task's own hub id."""
    options: dict[str, Any] = {}
    """Options of the task (heldout_percent, max_value, ...)."""

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        self.build()
        return self

    def build(self) -> Task:
        """Build the task; its data is read when problems are asked for."""
        if self.path is None:
            return make_task(self.name, **self.options)
        if "source" in self.options:
            raise TaskError(f"task.path {self.path!r} and task.options.source are one thing; remove one")
        if "source" not in TASKS[self.name].__dataclass_fields__:
            raise TaskError(f"task {self.name!r} makes its problems itself; remove task.path {self.path!r}")
        return make_task(self.name, source=self.path, **self.options)
