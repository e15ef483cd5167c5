"""The part of `--help` that lists every key of a recipe: type, default and what it means.

pydantic-settings walks the schema and groups its keys. Its parser is not used: it takes JSON where recipes
have YAML, keeps the last of a key that stands twice, and answers an unknown key with a page of usage.
`utils.config.override` parses the keys.
"""

from __future__ import annotations

import json
from argparse import SUPPRESS
from collections.abc import Iterator
from enum import Enum
from functools import cache
from typing import Any, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, create_model
from pydantic.fields import FieldInfo

from reverse_codi.cli.parser import Parser
from reverse_codi.recipe.reinforce import ReinforceStage
from reverse_codi.recipe.reward import RewardItem
from reverse_codi.recipe.schema import Recipe

INTRODUCTION = (
    "keys of the recipe: --section.key VALUE or --section.key=VALUE lies over the file; VALUE is YAML"
)
STAGES, ITEMS = "reinforce, a list of", "reward.functions, a list of"


def keys_help() -> str:
    """Every key of a recipe, grouped by section."""
    from pydantic_settings import BaseSettings, CliSettingsSource

    parser = Parser(prog="", usage=SUPPRESS, description=INTRODUCTION, add_help=False)
    for model, title, sign in ((Recipe, "", "--"), (ReinforceStage, STAGES, ""), (RewardItem, ITEMS, "")):
        listed = _Listed(model, title, sign)
        bases: Any = (model, BaseSettings)
        CliSettingsSource(
            create_model(model.__name__, __base__=bases),
            root_parser=parser.add_argument_group(title) if title else parser,
            add_argument_method=listed.add_key,
            add_argument_group_method=lambda _, listed=listed, **how: listed.add_section(parser, **how),
        )
    return parser.format_help()


def all_keys() -> list[str]:
    """The keys that may stand on the command line, dotted."""
    return [key for key, _ in _keys(Recipe, "")]


def _keys(model: type[BaseModel], before: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        key = f"{before}{field.alias or name}"
        yield key, field
        if (inner := _section(field)) is not None:
            yield from _keys(inner, f"{key}.")


def _section(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a field that is a section, also of one that may be null."""
    if get_origin(field.annotation) is list:
        return None
    options = [field.annotation, *get_args(field.annotation)]
    found = [option for option in options if isinstance(option, type) and issubclass(option, BaseModel)]
    return found[0] if found else None


class _Listed:
    """What pydantic-settings finds in one model, put into words that hold for YAML.

    Args:
        model: the recipe, or an item of a list in it.
        title: of the group of its keys; nested sections are named in it.
        sign: what stands before a key; "" where it can be written in the file alone.
    """

    def __init__(self, model: type[BaseModel], title: str, sign: str) -> None:
        self.fields = dict(_keys(model, ""))
        self.title, self.sign = title, sign

    def add_section(self, parser: Parser, title: str, description: str | None) -> Any:
        key = title.removesuffix(" options")
        field = self.fields[key]
        meaning = field.description or ""
        if field.default is None:
            meaning += "\nNot set by default; a key below sets it."
        return parser.add_argument_group(f"{self.title}: {key}" if self.title else key, meaning)

    def add_key(self, group: Any, *_: str, dest: str, metavar: str, **__: Any) -> None:
        field = self.fields[dest]
        if _section(field) is not None:
            return  # its keys follow
        meaning = f"{field.description or ''} ({self._default(dest)})".replace("%", "%%")
        kind = _values(field.annotation) or metavar.replace("JSON", "mapping")
        if self.sign:
            group.add_argument(f"{self.sign}{dest}", metavar=kind, help=meaning)
        else:
            group.add_argument(dest, metavar=f"{dest} {kind}", help=meaning)

    def _default(self, key: str) -> str:
        field = self.fields[key]
        value = None if field.is_required() else field.get_default(call_default_factory=True)
        if self.sign:
            value = _set_by_default(key, value)
        elif field.is_required():
            return "required"
        return f"default: {json.dumps(TypeAdapter(Any).dump_python(value, mode='json'))}"


@cache
def _defaults() -> Recipe:
    return Recipe()


def _set_by_default(key: str, otherwise: Any) -> Any:
    """The value of a key in a recipe that says nothing; a section may set what its class leaves open."""
    value: Any = _defaults()
    for part in key.split("."):
        if value is None:
            return otherwise
        value = getattr(value, part)
    return value


def _values(annotation: Any) -> str | None:
    """The values of an enumeration, as YAML has them; pydantic-settings shows their names."""
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "{" + ",".join(str(member.value) for member in annotation) + "}"
    return None
