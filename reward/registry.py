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
import math
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any, TypeVar, cast, get_type_hints

from pydantic import BaseModel

from reverse_codi.config import RecipeError, validated
from reverse_codi.reading.spec import LAYERS
from reverse_codi.rewarding import Registered, RewardFunction
from reverse_codi.user_code import file_of, in_one_line, innermost, place_of
from reward.loading import module_in, module_of, users

ENTRY_POINTS = "reverse_codi.rewards"
_MARK = "__registered_reward__"
# A name is a part of keys, `reward/NAME/mean` or `correlation/A/B`.
_NAME = re.compile(r"[\w.+-]+")

C = TypeVar("C", bound=Callable[..., Any])


def reward(
    *,
    worst: float,
    name: str | None = None,
    supervised: bool = False,
    slow: bool = False,
    layers: str = "",
) -> Callable[[C], C]:
    """Declare a function or class as a reward; it is returned unchanged.

    Args:
        worst: what a truncated or empty text gets; at most what the function may return.
        name: what recipes and metrics call it; the function's own name if None.
        supervised: it uses gold labels, so it is for ablations only.
        slow: it mostly waits, as for a server: run it beside the others. Async ones always do.
        layers: what it wants in `batch.layers` beside the recipe's: "all", "final" or numbers joined by
            commas (0: embeddings). They come from the one reading that all rewards share.

    Raises:
        ValueError: `worst` is NaN or infinite, `layers` names none, or `name` is more than a word.
    """
    if not math.isfinite(worst):
        raise ValueError(f"worst = {worst}: a failed text's reward must be finite; give the lower bound")
    if layers and not re.match(LAYERS, layers):
        raise ValueError(f"layers = {layers!r}: write 'all', 'final' or numbers joined by commas, as '0,2'")

    def declare(declared: C) -> C:
        description = (inspect.getdoc(declared) or "").partition("\n")[0]
        function = cast(RewardFunction, declared)
        own_name = declared.__name__ if name is None else name
        if not _NAME.fullmatch(own_name):
            raise ValueError(
                f"name = {own_name!r}: write letters, digits and _ . + - only, as it is a part of keys"
            )
        record = Registered(own_name, function, worst, description, supervised, slow, layers)
        setattr(declared, _MARK, record)
        return declared

    return declare


def find(name: str, options: Mapping[str, Any] | None = None, root: str = "") -> Registered:
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


def names() -> dict[str, Registered]:
    """Every reward function of the package `reward`, by name."""
    import reward as package

    found: dict[str, Registered] = {}
    for info in pkgutil.iter_modules(package.__path__, "reward."):
        module = importlib.import_module(info.name)
        for value in vars(module).values():
            record = getattr(value, _MARK, None)
            if isinstance(record, Registered) and value.__module__ == info.name:
                found[record.name] = record
    return found


def entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    """The reward functions of other packages, by name, not loaded."""
    return {entry.name: entry for entry in importlib.metadata.entry_points(group=ENTRY_POINTS)}


def config_model(record: Registered) -> type[BaseModel] | None:
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


def declared(name: str, root: str = "") -> Registered:
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


def _declared(module: ModuleType, attribute: str) -> Registered:
    if not hasattr(module, attribute):
        there = [key for key, value in vars(module).items() if hasattr(value, _MARK)]
        near = difflib.get_close_matches(attribute, there, n=3) or there
        have = f"it declares {', '.join(near)}" if near else "it declares none with @reward"
        raise RecipeError(f"{module.__file__} has no reward function {attribute!r}; {have}")
    return _marked(getattr(module, attribute), f"{attribute!r} of {module.__file__}")


def _marked(value: object, source: str) -> Registered:
    record = getattr(value, _MARK, None)
    if not isinstance(record, Registered):
        raise RecipeError(f"{source} is no reward function; declare its worst value with @reward(worst=...)")
    return record


def _bound(record: Registered, options: Mapping[str, Any]) -> Registered:
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


def refuse_uncallable(record: Registered, arguments: Mapping[str, object]) -> None:
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
