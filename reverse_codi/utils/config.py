"""Strict pydantic base for recipe sections: what is wrong with one is said with key, value and fix."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from reverse_codi.errors import RecipeError
from reverse_codi.storage.text_files import read_text
from reverse_codi.storage.yaml_text import DuplicateKeyError, YamlError, load_yaml
from reverse_codi.utils.shown import brief, cut

M = TypeVar("M", bound=BaseModel)

# Problems of one recipe that are listed.
_SHOWN = 20


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
