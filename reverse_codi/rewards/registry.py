"""How a recipe's name becomes a reward function: one of `reward/`, another package's, or the user's own.

Any callable is a reward: `fn(batch)`, as ours are, or `fn(completions, **kwargs)`, as TRL's are; see
`rewards.signatures`. It may be async. A parameter `config`, annotated with a `Section`, receives the recipe's
`options`. A class whose `__init__` takes such a `config` (or nothing) and whose instances are called serves
where something must be loaded once. `@reward(worst=...)` says more of it.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.metadata
import inspect
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any, cast

from pydantic import BaseModel

from reverse_codi.errors import RecipeError
from reverse_codi.recipe.reward import RewardSection
from reverse_codi.rewards.declare import MARK, NAME, RewardFunction, RewardSpec
from reverse_codi.rewards.loading import module_in, module_of, users
from reverse_codi.rewards.signatures import config_model, from_trl, is_trl, refuse_uncallable
from reverse_codi.rewards.values import described
from reverse_codi.utils.config import validated
from reverse_codi.utils.user_code import file_of, innermost, place_of

ENTRY_POINTS = "reverse_codi.rewards"


def find(
    name: str | Callable[..., Any], options: Mapping[str, Any] | None = None, root: str = ""
) -> RewardSpec:
    """The reward function of a recipe's name, with its options bound.

    Args:
        name: a name from the package `reward`, an entry point of the group `reverse_codi.rewards`,
            `module:function`, `./path.py:function`, or the function itself.
        options: fields of the function's config.
        root: folder that a file's path is relative to, before the working directory is tried.

    Raises:
        RecipeError: nothing has this name (the nearest are listed), what has it cannot be called, or its
            config refuses the options.
    """
    return _bound(declared(name, root), options or {})


def names() -> dict[str, RewardSpec]:
    """Every reward function of the package `reward`, by name."""
    package = importlib.import_module("reward")  # by name: those functions import this package

    found: dict[str, RewardSpec] = {}
    for info in pkgutil.iter_modules(package.__path__, "reward."):
        module = importlib.import_module(info.name)
        for value in vars(module).values():
            record = getattr(value, MARK, None)
            if isinstance(record, RewardSpec) and value.__module__ == info.name:
                found[record.name] = record
    return found


def entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    """The reward functions of other packages, by name, not loaded."""
    return {entry.name: entry for entry in importlib.metadata.entry_points(group=ENTRY_POINTS)}


def declared(name: str | Callable[..., Any], root: str = "") -> RewardSpec:
    """The reward function of a recipe's name as it was declared, without options; see `find`."""
    if not isinstance(name, str):
        own: str = getattr(name, "__name__", None) or innermost(name).__name__
        return _spec(name, re.sub(rf"(?!{NAME.pattern}).", "", own), f"{name!r}")
    place, colon, attribute = name.rpartition(":")
    if colon:
        load = module_in if place.endswith(".py") else module_of
        return _in_module(load(place, root), attribute)
    known = names()
    if name in known:
        return known[name]
    entries = entry_points()
    if name in entries:
        loaded = users(entries[name].load, f"entry point {name!r} cannot be loaded")
        return _spec(loaded, name, f"entry point {name!r}")
    everything = sorted({*known, *entries})
    near = difflib.get_close_matches(name, everything, n=3)
    hint = f"did you mean {' or '.join(map(repr, near))}" if near else f"known are {', '.join(everything)}"
    forms = "module:function or ./path.py:function"
    raise RecipeError(f"no reward function is named {name!r}; {hint}; for your own write {forms}")


def _in_module(module: ModuleType, attribute: str) -> RewardSpec:
    if not hasattr(module, attribute):
        own = {
            key: value
            for key, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", None) == module.__name__
        }
        there = [key for key, value in own.items() if hasattr(value, MARK)] or list(own)
        near = difflib.get_close_matches(attribute, there, n=3) or there
        have = f"it declares {', '.join(near)}" if near else "it declares no function"
        raise RecipeError(f"{module.__file__} has no reward function {attribute!r}; {have}")
    return _spec(getattr(module, attribute), attribute, f"{attribute!r} of {module.__file__}")


def _spec(value: Any, name: str, source: str) -> RewardSpec:
    """What is known of a callable: from `@reward`, else from its name and docstring."""
    if not callable(value):
        fix = "a reward is a function fn(batch)"
        raise RecipeError(f"{source} is {described(value)}, which cannot be called; {fix}")
    record = getattr(value, MARK, None)
    if isinstance(record, RewardSpec):
        # A wrapper copies the mark of what it wraps, and an object has its class's.
        return record if record.function is value else replace(record, function=value)
    description = (inspect.getdoc(innermost(value)) or "").partition("\n")[0]
    return RewardSpec(name, value, None, description)


def _bound(record: RewardSpec, options: Mapping[str, Any]) -> RewardSpec:
    """The reward with its options, made where it is a class, as a function of a batch."""
    function: Any = record.function
    arguments: dict[str, BaseModel] = {}
    if model := config_model(record):
        arguments["config"] = validated(model, dict(options), f"options of reward {record.name}")
    elif options:
        raise RecipeError(f"reward {record.name} takes no options; drop {', '.join(options)}")
    refuse_uncallable(record, arguments)
    if inspect.isclass(function):
        problem = f"reward {record.name} ({place_of(function)}) cannot be made"
        made: Any = users(lambda: function(**arguments), problem, file_of(function))
    else:
        made = functools.partial(function, **arguments) if arguments else function
    return replace(record, function=from_trl(made) if is_trl(made) else cast(RewardFunction, made))


def find_functions(section: RewardSection, root: str = "") -> list[RewardSpec]:
    """A recipe's reward functions, options and time limits bound.

    Args:
        section: the recipe's.
        root: folder that paths of files are relative to, before the working directory is tried.

    Raises:
        RecipeError: no such function, options that it refuses, two of one name, or a gate by none of them.
    """
    found = [
        replace(find(item.name, item.options, root), timeout_s=item.timeout_s or section.timeout_s / 4)
        for item in section.functions
    ]
    names = [function.name for function in found]
    if twice := {name for name in names if names.count(name) > 1}:
        fix = "rename one with @reward(name=...)"
        raise RecipeError(f"two reward functions are named {twice.pop()!r}; {fix}")
    for name, item in zip(names, section.functions, strict=True):
        if item.gate is not None and item.gate.by not in {*names} - {name}:
            others = ", ".join(other for other in names if other != name) or "none"
            raise RecipeError(
                f"reward {name}: gate.by = {item.gate.by!r} is no other reward; those are {others}"
            )
    return found
