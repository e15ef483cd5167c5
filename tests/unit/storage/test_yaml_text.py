"""YAML that is none, or that stands for more than can be held."""

from __future__ import annotations

import pytest

from reverse_codi.errors import RecipeError
from reverse_codi.storage.yaml_text import MOST_MERGED, YamlError, load_yaml
from reverse_codi.utils.config import override

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{one}: &{one} [{', '.join(['*' + before] * 9)}]\n"
    for before, one in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {k: 1}\n" + "".join(
    f"{one}: &{one}\n  <<: [{', '.join(['*' + before] * 30)}]\n"
    for before, one in zip("abcd", "bcde", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "is not YAML: while parsing"),
        ("on: 2001-13-45", r"is not YAML: month must be in 1\.\.12"),
        ("a: !!int x", "is not YAML: invalid literal for int"),
        ("a: !!timestamp x", "is not YAML: "),
        ("a: !!bool x", "is not YAML: "),
        ("a: !!python/name:os.system x", "is not YAML: could not determine a constructor"),
        ("{[1]: 2}", "is not YAML: while constructing a mapping"),
        (f"a: {'9' * 5_000}", "is not YAML: Exceeds the limit"),
        ("[" * 5_000, "is nested too deep"),
        (LAUGHS, "has aliases that stand for more than 1,000,000 values"),
        ("&a [*a]", "has aliases that stand for more than 1,000,000 values, or for themselves"),
        (MERGES, f"merges more than {MOST_MERGED:,} keys into one mapping"),
        ("a: 1\na: 2", "key 'a' stands twice, in lines 1 and 2"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    with pytest.raises(YamlError, match=f"^{said}"):
        load_yaml(text)


def test_aliases_and_merges_of_a_recipes_size_are_taken() -> None:
    assert load_yaml("a: &a {k: 1}\nb: {<<: *a, m: 2}\nc: [*a, *a]") == {
        "a": {"k": 1},
        "b": {"k": 1, "m": 2},
        "c": [{"k": 1}, {"k": 1}],
    }


def test_an_option_names_its_key_and_shows_no_more_of_its_value_than_fits() -> None:
    with pytest.raises(
        RecipeError, match=r"^a\.b = '\[x+\.\.\.x+' is not YAML; quote it as YAML would$"
    ) as told:
        override({}, ["--a.b", "[" + "x" * 100_000])
    assert len(str(told.value)) < 300
