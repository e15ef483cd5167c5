"""How a reward function may be called: with a batch, as ours are, or with columns, as TRL calls its own.

TRL's contract (`GRPOTrainer(reward_funcs=...)`) is `fn(completions, **kwargs) -> list[float | None]`, sync or
async, with every argument given by its name: `prompts`, `completions`, `completion_ids` and the data set's
columns.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from pydantic import BaseModel

from reverse_codi.errors import RecipeError
from reverse_codi.rewards.batch import RewardBatch
from reverse_codi.rewards.declare import RewardFunction, RewardSpec
from reverse_codi.utils.user_code import in_one_line, innermost, place_of

# What TRL calls our columns, and those that go by our own name.
TRL_NAMES = {
    "prompts": "questions",
    "completions": "texts",
    "completion_ids": "token_ids",
    "log_metric": "log",
}
COLUMNS = ("questions", "sites", "claims", "thoughts", "targets", "distractors", "states", "predicted")
GIVEN = {**TRL_NAMES, **{name: name for name in COLUMNS}}
"""Argument -> field of the batch, for functions with TRL's signature."""


def config_model(record: RewardSpec) -> type[BaseModel] | None:
    """The model of a function's options; None where it takes none.

    Raises:
        RecipeError: its parameter `config` is not annotated with a model.
    """
    function: Any = record.function
    if "config" not in parameters(function):
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


def is_trl(function: Callable[..., Any]) -> bool:
    """Whether a function, or what a class's instances are called with, has TRL's signature.

    >>> is_trl(lambda completions, **kwargs: []), is_trl(lambda **columns: []), is_trl(lambda batch: [])
    (True, True, False)
    """
    taken = parameters(_called(function))
    if "completions" in taken or "prompts" in taken or "completion_ids" in taken:
        return True
    named = [parameter for name, parameter in taken.items() if name not in ("self", "config")]
    return [parameter.kind for parameter in named] == [inspect.Parameter.VAR_KEYWORD]


def from_trl(function: Callable[..., Any]) -> RewardFunction:
    """A function of TRL's signature as one that takes a batch; it gets what it asks for by name."""
    names = [name for name in GIVEN if _takes(function, name)]

    def given(batch: RewardBatch) -> dict[str, Any]:
        return {name: getattr(batch, GIVEN[name]) for name in names}

    if any(map(inspect.iscoroutinefunction, (function, type(function).__call__))):

        @functools.wraps(function)
        async def awaiting(batch: RewardBatch) -> Any:
            return await function(**given(batch))

        return awaiting

    @functools.wraps(function)
    def calling(batch: RewardBatch) -> Any:
        return function(**given(batch))

    return calling


def refuse_uncallable(record: RewardSpec, arguments: Mapping[str, object]) -> None:
    """Refuse a function that can be called neither with one batch nor as TRL does.

    Args:
        record: as it was declared.
        arguments: `config`, where it takes one.

    Raises:
        RecipeError: with its file, line and signature.
    """
    function: Any = record.function
    name = getattr(innermost(function), "__name__", record.name)
    if not inspect.isclass(function):
        _refuse_call(
            record, name, function, arguments, f"def {name}(batch) or def {name}(batch, config: Options)"
        )
        return
    if not any("__call__" in vars(base) for base in function.__mro__):
        raise RecipeError(
            f"reward {record.name} ({place_of(function)}): instances of {name} cannot be called; "
            "give the class a __call__(self, batch)"
        )
    if (problem := _mismatch(function, (), arguments)) is not None:
        raise RecipeError(
            f"reward {record.name} ({place_of(function)}): {name}{_signature(function)} cannot be called "
            f"with options alone ({problem}); write def __init__(self) or def __init__(self, config: Options)"
        )
    _refuse_call(record, f"{name}.__call__", function.__call__, {}, "def __call__(self, batch)", (None,))


def _refuse_call(
    record: RewardSpec,
    shown: str,
    function: Callable[..., Any],
    arguments: Mapping[str, object],
    forms: str,
    before: tuple[None, ...] = (),
) -> None:
    """Refuse a function that a batch, or TRL's columns, cannot be given to; `before`: a `self`."""
    given = "one batch" + (" and its config" if arguments else "")
    keywords, positional = dict(arguments), (*before, None)
    if is_trl(function):
        given, positional = "TRL's arguments", before
        keywords |= {name: None for name in GIVEN if _takes(function, name)}
        forms = f"**kwargs, and defaults for all but {', '.join(GIVEN)}"
    if (problem := _mismatch(function, positional, keywords)) is not None:
        raise RecipeError(
            f"reward {record.name} ({place_of(function)}): {shown}{_signature(function)} cannot be called "
            f"with {given} ({problem}); write {forms}"
        )


def _mismatch(
    function: Callable[..., Any], positional: tuple[None, ...], keywords: Mapping[str, object]
) -> TypeError | None:
    """Why a function does not take these arguments; None where it does, or has no signature to look at."""
    signature = _signature(function)
    try:
        if signature is not None:
            signature.bind(*positional, **keywords)
    except TypeError as error:
        return error
    return None


def parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """A function's parameters, or a class's constructor's; none where it has no signature to look at."""
    signature = _signature(function)
    return {} if signature is None else signature.parameters


def _called(function: Callable[..., Any]) -> Callable[..., Any]:
    """What is called with the batch: of a class, its instances."""
    return function.__call__ if inspect.isclass(function) else function


def _takes(function: Callable[..., Any], name: str) -> bool:
    """Whether a function can be given an argument of this name."""
    taken = parameters(function)
    return name in taken or any(p.kind is inspect.Parameter.VAR_KEYWORD for p in taken.values())


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    """The signature of a function or class; None where it has none to look at, as some built in ones."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None
