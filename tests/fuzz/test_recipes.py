"""Recipes: every key with values of every kind, and files of any text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reverse_codi.cli.recipe_keys import all_keys
from reverse_codi.errors import RecipeError
from reverse_codi.recipe.find import recipes
from reverse_codi.recipe.schema import Recipe, load_recipe
from reverse_codi.utils.config import override
from tests.fuzz.cases import cases, ends_well
from tests.fuzz.damage import odd_texts, odd_values

LINES = {name: file.read_text().splitlines() for name, file in recipes().items()}


def value_at(recipe: Recipe, key: str) -> Any:
    value: Any = recipe
    for part in key.split("."):
        value = getattr(value, part, None)
    return value


def is_same(given: Any, got: Any) -> bool:
    """Whether a recipe holds what was given: a text may stand for a number, nothing else is converted."""
    if isinstance(given, bool) or isinstance(got, bool):
        return (type(given) is type(got) and given == got) or isinstance(given, str)
    if isinstance(given, int | float) and isinstance(got, int | float):
        return float(given) == float(got)
    return given == got or isinstance(given, str | dict | list) or given is None


@cases("recipe values")
@given(key=st.sampled_from(all_keys()), value=odd_values)
def test_a_key_takes_its_value_or_is_named(key: str, value: Any) -> None:
    written = yaml.safe_dump(value, default_flow_style=True, width=10**6)
    recipe = ends_well(lambda: load_recipe(["tiny", f"--{key}={written}"]), key, "tiny")
    if recipe is not None:
        assert len(recipe.trace_hash) == 64
        again = yaml.safe_load(yaml.safe_dump(recipe.model_dump(mode="json", by_alias=True)))
        assert Recipe.model_validate(again).model_dump(mode="json") == recipe.model_dump(mode="json")
        assert is_same(yaml.safe_load(written), value_at(recipe, key)), (value, value_at(recipe, key))


@st.composite
def recipe_texts(draw: st.DrawFn) -> str:
    """A recipe of the package with lines changed, or any text."""
    lines = list(LINES[draw(st.sampled_from(sorted(LINES)))])
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["out", "twice", "indented", "value", "text", "tag"])):
            case "out":
                del lines[at]
            case "twice":
                lines.insert(at, lines[at])
            case "indented":
                lines[at] = draw(st.sampled_from([" ", "\t", "- "])) + lines[at]
            case "value":
                value = yaml.safe_dump(draw(odd_values), default_flow_style=True)
                lines[at] = f"{lines[at].partition(':')[0]}: {value}"
            case "tag":
                tags = [
                    "!!python/object/apply:os.system [ls]",
                    "!!int x",
                    "!!timestamp x",
                    "2001-13-45",
                    "&a [*a]",
                ]
                lines[at] = f"{lines[at].partition(':')[0]}: {draw(st.sampled_from(tags))}"
            case _:
                lines[at] = draw(st.text(max_size=30))
        if not lines:
            break
    return "\n".join(lines) + "\n"


@cases("recipe texts")
@given(text=recipe_texts() | st.text(max_size=80), encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_a_file_is_a_recipe_or_is_named(text: str, encoding: str, room: Path) -> None:
    file = room / "recipe.yaml"
    file.write_bytes(text.encode(encoding, "surrogatepass"))
    recipe = ends_well(lambda: load_recipe([str(file)]), file)
    if recipe is not None:
        plain = yaml.safe_load(file.read_bytes().decode(encoding).replace("\r\n", "\n"))
        assert isinstance(plain, dict) and set(plain) <= set(Recipe.model_fields)


@cases("options")
@given(
    words=st.lists(
        odd_texts | st.sampled_from(["--a.b", "--a=1", "--=", "--.", "[1", "{a: 1, a: 2}"]), max_size=4
    )
)
def test_options_are_laid_over_or_one_is_named(words: list[str]) -> None:
    try:
        assert isinstance(override({}, words), dict)
    except RecipeError as error:
        assert len(str(error)) < 1_000 and "\n" not in str(error)


def test_a_key_that_stands_twice_is_never_taken_once(tmp_path: Path) -> None:
    """For every line of every recipe that gives a key a value."""
    tried = 0
    for lines in LINES.values():
        for at, line in enumerate(lines):
            name, colon, rest = line.partition(":")
            if (
                not colon
                or not name.strip().isidentifier()
                or not rest.strip()
                or name.lstrip().startswith("#")
            ):
                continue
            if rest.strip()[0] in "|>&[{" or rest.strip().startswith(
                "#"
            ):  # the value goes on in the next line
                continue
            file = tmp_path / "twice.yaml"
            file.write_text("\n".join([*lines[: at + 1], line, *lines[at + 1 :]]))
            with pytest.raises(RecipeError, match=rf"key '{name.strip()}' stands twice"):
                load_recipe([str(file)])
            tried += 1
    assert tried > 50
