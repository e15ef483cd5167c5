"""How a reward function is declared, and how a recipe's name becomes one.

    @reward(worst=-1.0)
    def my_reward(batch: RewardBatch) -> list[float | None]: ...

It may be async. A second parameter `config`, annotated with a `Section`, receives the recipe's
`options`. A class whose `__init__` takes such a `config` (or nothing) and whose instances are called
with the batch serves where something must be loaded once.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.metadata
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any, cast, get_type_hints

from pydantic import BaseModel

from reverse_codi.recipe.reward import RewardSection
from reverse_codi.rewards.declare import MARK, RewardFunction, RewardSpec
from reverse_codi.rewards.loading import module_in, module_of, users
from reverse_codi.utils.config import RecipeError, validated
from reverse_codi.utils.user_code import file_of, in_one_line, innermost, place_of

ENTRY_POINTS = "reverse_codi.rewards"


def find(name: str, options: Mapping[str, Any] | None = None, root: str = "") -> RewardSpec:
    """The reward function of a recipe's name, with its options bound.

    Args:
        name: a name from the package `reward`, an entry point of the group `reverse_codi.rewards`,
            `module:function` or `./path.py:function`.
        options: fields of the function's config.
        root: folder that a file's path is relative to, before the working directory is tried.

    Raises:
        RecipeError: nothing has this name (the nearest are listed), it was not declared with
            `@reward`, or its config refuses the options.
    """
    return _bound(declared(name, root), options or {})


def names() -> dict[str, RewardSpec]:
    """Every reward function of the package `reward`, by name."""
    import reward as package

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


def config_model(record: RewardSpec) -> type[BaseModel] | None:
    """The model of a declared function's options; None where it takes none.

    Raises:
        RecipeError: its parameter `config` is not annotated with a model.
    """
    function: Any = record.function
    if "config" not in _parameters(function):
        return None
    annotated = function.__init__ if inspect.isclass(function) else function
    try:
        model = get_type_hints(annotated).get("config")
    except Exception as error:  # annotations are the user's code too
        problem = f"reward {record.name} ({place_of(function)}): its annotations cannot be resolved"
        raise RecipeError(f"{problem}: {in_one_line(error)}") from error
    if not (inspect.isclass(model) and issubclass(model, BaseModel)):
        raise RecipeError(f"reward {record.name}: its config is a {model}; annotate it with a Section")
    return model


def declared(name: str, root: str = "") -> RewardSpec:
    """The reward function of a recipe's name as it was declared, without options; see `find`."""
    place, colon, attribute = name.rpartition(":")
    if colon:
        load = module_in if place.endswith(".py") else module_of
        return _declared(load(place, root), attribute)
    known = names()
    if name in known:
        return known[name]
    entries = entry_points()
    if name in entries:
        loaded = users(entries[name].load, f"entry point {name!r} cannot be loaded")
        return _marked(loaded, f"entry point {name!r}")
    everything = sorted({*known, *entries})
    near = difflib.get_close_matches(name, everything, n=3)
    hint = f"did you mean {' or '.join(map(repr, near))}" if near else f"known are {', '.join(everything)}"
    forms = "module:function or ./path.py:function"
    raise RecipeError(f"no reward function is named {name!r}; {hint}; for your own write {forms}")


def _declared(module: ModuleType, attribute: str) -> RewardSpec:
    if not hasattr(module, attribute):
        there = [key for key, value in vars(module).items() if hasattr(value, MARK)]
        near = difflib.get_close_matches(attribute, there, n=3) or there
        have = f"it declares {', '.join(near)}" if near else "it declares none with @reward"
        raise RecipeError(f"{module.__file__} has no reward function {attribute!r}; {have}")
    return _marked(getattr(module, attribute), f"{attribute!r} of {module.__file__}")


def _marked(value: object, source: str) -> RewardSpec:
    record = getattr(value, MARK, None)
    if not isinstance(record, RewardSpec):
        raise RecipeError(f"{source} is no reward function; declare its worst value with @reward(worst=...)")
    return record


def _bound(record: RewardSpec, options: Mapping[str, Any]) -> RewardSpec:
    function: Any = record.function
    arguments: dict[str, BaseModel] = {}
    if model := config_model(record):
        arguments["config"] = validated(model, dict(options), f"options of reward {record.name}")
    elif options:
        raise RecipeError(f"reward {record.name} takes no options; drop {', '.join(options)}")
    refuse_uncallable(record, arguments)
    if inspect.isclass(function):
        problem = f"reward {record.name} ({place_of(function)}) cannot be made"
        made = users(lambda: function(**arguments), problem, file_of(function))
        return replace(record, function=cast(RewardFunction, made))
    return replace(record, function=functools.partial(function, **arguments)) if arguments else record


def refuse_uncallable(record: RewardSpec, arguments: Mapping[str, object]) -> None:
    """Refuse a function that cannot be called with one batch, or a class whose instances cannot.

    Args:
        record: as it was declared.
        arguments: `config`, where it takes one.

    Raises:
        RecipeError: with its file, line and signature.
    """
    function: Any = record.function
    written = innermost(function)
    name = getattr(written, "__name__", record.name)
    calls: list[tuple[str, Callable[..., Any], tuple[None, ...], Mapping[str, object], str]]
    if not inspect.isclass(function):
        forms = f"def {name}(batch) or def {name}(batch, config: Options)"
        calls = [(name, function, (None,), arguments, forms)]
    elif not any("__call__" in vars(base) for base in function.__mro__):
        raise RecipeError(
            f"reward {record.name} ({place_of(function)}): instances of {name} cannot be called; "
            "give the class a __call__(self, batch)"
        )
    else:
        made, called = (
            "def __init__(self) or def __init__(self, config: Options)",
            "def __call__(self, batch)",
        )
        calls = [
            (name, function, (), arguments, made),
            (f"{name}.__call__", function.__call__, (None, None), {}, called),
        ]
    for shown, callee, positional, keywords, forms in calls:
        signature = _signature(callee)
        try:
            if signature is not None:
                signature.bind(*positional, **keywords)
        except TypeError as error:
            given = (
                "options alone" if not positional else "one batch" + (" and its config" if keywords else "")
            )
            raise RecipeError(
                f"reward {record.name} ({place_of(callee if positional else function)}): {shown}{signature} "
                f"cannot be called with {given} ({error}); write {forms}"
            ) from None


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    """The signature of a function or class; None where it has none to look at, as some built in ones."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    signature = _signature(function)
    return {} if signature is None else signature.parameters


def find_functions(section: RewardSection, root: str = "") -> list[RewardSpec]:
    """A recipe's reward functions, options and time limits bound.

    Args:
        section: the recipe's.
        root: folder that paths of files are relative to, before the working directory is tried.

    Raises:
        RecipeError: no such function, options that it refuses, two of one name, or a gate by none of them.
    """
    # `reward` imports this package, so it is imported only when it is asked for.
    find: Callable[..., RewardSpec] = importlib.import_module("reverse_codi.rewards.registry").find
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
