"""Strict pydantic base for recipe sections, and errors that name key, value and fix."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from reverse_codi.utils import stopping
from reverse_codi.utils.errors import TRAINING, NotInstalledError
from reverse_codi.utils.errors import UsageError as UsageError
from reverse_codi.utils.errors import UserError as UserError
from reverse_codi.utils.log import hide_log, show_log_on_standard_error
from reverse_codi.utils.shown import brief, cut, harmless
from reverse_codi.utils.text_files import read_text
from reverse_codi.utils.yaml_text import DuplicateKeyError, YamlError, load_yaml

M = TypeVar("M", bound=BaseModel)

# Problems of one recipe that are listed.
_SHOWN = 20


class RecipeError(UsageError):
    """A recipe cannot be used; the message names key, value and what to do."""


def run_verb(main: Callable[[], None]) -> None:
    """Run a command: a `UserError` becomes one line on standard error, and a closed pipe ends it quietly.

    The package's log is shown on standard error, unless the verb shows it on a console of its own.

    Raises:
        SystemExit: with status 2 where the command line or the recipe is wrong, 1 where the work failed, and
            see `stopping.exit_code` where a signal ended it.
    """
    show_log_on_standard_error()
    with stopping.listening():
        try:
            main()
            sys.stdout.flush()
        except BrokenPipeError:
            from reverse_codi.utils.console import silence  # `rich`, which most who read this need not

            silence(sys.stdout)
        except UsageError as error:
            print(f"error: {harmless(str(error))}", file=sys.stderr)
            raise SystemExit(2) from None
        except (UserError, OSError) as error:
            # Of the system's errors those that name a file: none there, no right to read it, a name too long.
            ours = isinstance(error, UserError | FileNotFoundError) or error.filename is not None
            if not ours:
                raise
            if stopping.asked():  # what failed may be what the signal also ended, such as Ray
                raise SystemExit(stopped()) from None
            raise SystemExit(f"error: {harmless(str(error))}") from None
        except ModuleNotFoundError as error:
            if error.name not in TRAINING:
                raise
            raise SystemExit(f"error: {NotInstalledError(error.name)}") from None
        except KeyboardInterrupt:
            raise SystemExit(stopped()) from None
        finally:
            hide_log()


def stopped() -> int:
    """Say that a signal stopped the command; returns its exit code."""
    print(stopping.last_line(), file=sys.stderr)
    return stopping.exit_code()


class Section(BaseModel):
    """A recipe section: immutable, no unknown keys, no NaN or infinity; field docstrings describe them."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, field: ValidationInfo) -> Any:
        """Pydantic takes true for 1, and YAML yes, on and true for true."""
        annotation = cls.model_fields[field.field_name or ""].annotation
        kinds = {annotation, *get_args(annotation)}
        if isinstance(value, bool) and kinds & {int, float} and bool not in kinds:
            raise ValueError("a number is wanted, not true or false")
        return value


def validated(model: type[M], values: dict[str, Any], source: str) -> M:
    """Build a section; every problem becomes one line of a `RecipeError`."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = error.errors()
        lines = [f"{source}: {_explain(model, dict(problem))}" for problem in problems[:_SHOWN]]
        if len(problems) > _SHOWN:
            lines.append(f"{source}: and {len(problems) - _SHOWN:,} more")
        raise RecipeError("\n".join(lines)) from None


def _explain(model: type[BaseModel], problem: dict[str, Any]) -> str:
    where = [cut(str(part)) for part in problem["loc"]]
    key = ".".join(where)
    if problem["type"] == "extra_forbidden":
        known = _fields_at(model, where[:-1])
        near = difflib.get_close_matches(where[-1], known, n=1)
        hint = (
            f"did you mean {'.'.join([*where[:-1], near[0]])!r}?"
            if near
            else f"known keys: {', '.join(known)}"
        )
        return f"unknown key {key!r}; {hint}"
    if problem["type"] == "missing":
        return f"key {key!r} is missing; give it a value"
    return f"{key} = {brief(problem['input'])}: {problem['msg'][0].lower()}{problem['msg'][1:]}"


def _fields_at(model: type[BaseModel], where: Sequence[str]) -> list[str]:
    for part in where:
        if part.isdecimal():  # a place in a list, whose items' model is already at hand
            continue
        field = model.model_fields.get(part)
        if field is None:
            return list(model.model_fields)
        options = [field.annotation, *get_args(field.annotation)]
        nested = [t for t in options if isinstance(t, type) and issubclass(t, BaseModel)]
        if not nested:
            return list(model.model_fields)
        model = nested[0]
    return list(model.model_fields)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping; a missing file or another kind of content is a `RecipeError`."""
    file = Path(path)
    if not file.is_file():
        near = difflib.get_close_matches(file.name, [p.name for p in file.parent.glob("*.yaml")], n=1)
        raise RecipeError(
            f"no recipe at {path}" + (f"; did you mean {file.parent / near[0]}?" if near else "")
        )
    try:
        values = load_yaml(read_text(file))
    except DuplicateKeyError as error:
        raise RecipeError(f"{path}: {error}") from None
    except YamlError as error:
        raise RecipeError(f"{path} {error}") from None
    if not isinstance(values, dict):
        raise RecipeError(f"{path} holds a {type(values).__name__}, not a mapping of sections")
    return values


def set_at(values: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key in place; mappings on the way are copied, so that those of others stay as they are."""
    *sections, leaf = key.split(".")
    for section in sections:
        inside = values.get(section)
        values[section] = dict(inside) if isinstance(inside, Mapping) else {}
        values = values[section]
    values[leaf] = value


def override(values: dict[str, Any], arguments: Sequence[str]) -> dict[str, Any]:
    """Lay `--section.key value` (or `--section.key=value`) pairs over a mapping; values are YAML."""
    merged = dict(values)
    words = list(arguments)
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            raise RecipeError(f"{brief(word)} is no option; write --section.key value")
        key, equals, text = word[2:].partition("=")
        if not equals:
            if not words or words[0].startswith("--"):
                raise RecipeError(f"{cut(word)} has no value; write {cut(word)} VALUE")
            text = words.pop(0)
        try:
            set_at(merged, key, load_yaml(text))
        except DuplicateKeyError as error:
            raise RecipeError(f"{cut(key)} = {brief(text)}: {error}") from None
        except YamlError as error:
            what = str(error).partition(":")[0]
            raise RecipeError(f"{cut(key)} = {brief(text)} {what}; quote it as YAML would") from None
    return merged
