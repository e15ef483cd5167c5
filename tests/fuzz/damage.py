"""Strategies: values of every type, texts of every kind, and files that were right once."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

from hypothesis import strategies as st

NAMES = ("<eos>", "<pad>", "<unk>", "<bos>", "<bot>", "<|endoftext|>", "<s>", "</s>", "[PAD]", "<think>")
"""Strings that some tokenizer has as a control token."""

odd_numbers = st.sampled_from(
    [0, -0.0, -1, 1, 2, 0.5, 2**31, 2**63, -(2**63), 10**30, 1e308, 5e-324, math.nan, math.inf, -math.inf]
)
odd_texts = st.sampled_from(
    [
        "",
        " ",
        "\n",
        "none",
        "null",
        "true",
        "auto",
        "1",
        "1e3",
        "../x",
        "/dev/null",
        "\x00",
        "\u202e",
        "é" * 300,
    ]
) | st.text(max_size=12)
scalars = st.none() | st.booleans() | odd_numbers | st.integers() | st.floats() | odd_texts
odd_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(odd_texts, inner, max_size=3),
    max_leaves=6,
)

texts = (
    st.text(max_size=60)
    | st.lists(st.sampled_from([*NAMES, "Ann", "has", "12", "apples", ".", "", "\n"]), max_size=8).map(
        " ".join
    )
    | st.text(alphabet=st.characters(categories=["Cc", "Cf", "Co", "Zl", "Zp", "Zs"]), max_size=20)
    | st.text(alphabet=st.characters(categories=["Cs", "Lu"]), min_size=1, max_size=8)
    | st.sampled_from(
        [
            "كم عدد التفاحات؟ ١٢ + ٥ = ١٧",  # noqa: RUF001
            "מה זה? 12 + 5",
            "苹果有12个。",
            "👩‍👩‍👧‍👦🏳️‍🌈" * 5,
            "a\u0300" * 40,
            "\ufeffAnn has 12 apples.",
            "1" * 5_000,
            "9,9" * 500,
            "((((" * 100 + "1" + "))))" * 100,
            "<<" * 300,
            "=" * 500,
            "½ + ⅓ = ⅚ ²³",
            "x" * 20_000,
        ]
    )
)
"""Questions, and texts to read: all scripts, control characters, halves, control tokens' names."""


@st.composite
def changed_json(draw: st.DrawFn, value: Any) -> Any:
    """A JSON value with one place changed: left out, renamed, doubled, or of another value."""
    changed = copy.deepcopy(value)
    places = list(_places(changed))
    if not places:
        return draw(odd_values)
    inside, key = draw(st.sampled_from(places))
    match draw(st.sampled_from(["other", "other", "out", "renamed", "doubled"])):
        case "out":
            del inside[key]
        case "renamed" if isinstance(inside, dict):
            inside[draw(odd_texts)] = inside.pop(key)
        case "doubled" if isinstance(inside, list):
            inside.append(inside[key])
        case _:
            inside[key] = draw(odd_values)
    return changed


def _places(value: Any) -> Any:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    for key in keys:
        yield value, key
        yield from _places(value[key])


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """A file's bytes, cut, emptied, with some of them replaced, or others altogether."""
    match draw(st.sampled_from(["cut", "replaced", "inserted", "front", "other", "empty"])):
        case "cut":
            return data[: draw(st.integers(0, max(0, len(data) - 1)))]
        case "replaced" if data:
            at = draw(st.integers(0, len(data) - 1))
            new = draw(st.binary(min_size=1, max_size=8))
            return data[:at] + new + data[at + len(new) :]
        case "inserted":
            at = draw(st.integers(0, len(data)))
            return data[:at] + draw(st.binary(min_size=1, max_size=8)) + data[at:]
        case "front":  # where formats say what they are, and how long
            new = draw(st.binary(min_size=1, max_size=16))
            return new + data[len(new) :]
        case "empty":
            return b""
        case _:
            return draw(st.binary(max_size=64))


def changed_file(data: bytes) -> st.SearchStrategy[bytes]:
    """A JSON file's bytes after a change of its value, or damaged as any file."""
    value = json.loads(data)
    return changed_json(value).map(lambda found: json.dumps(found).encode()) | damaged(data)
