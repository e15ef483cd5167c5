"""`--help` is quick and says everything."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from reverse_codi.cli.commands_page import page
from reverse_codi.cli.main import GROUPS
from reverse_codi.cli.recipe_keys import all_keys, keys_help
from reverse_codi.cli.train import parser
from reverse_codi.recipe.reinforce import ReinforceStage
from reverse_codi.recipe.reward import RewardItem
from reverse_codi.recipe.schema import Recipe

ROOT = Path(__file__).parents[3]
HEAVY = "torch transformers trl peft ray wandb datasets pyarrow numpy plotly rich.progress".split()
LIGHT = f"""
import contextlib, io, sys
from reverse_codi.cli.main import GROUPS, run

for verb in [verb for verbs in GROUPS.values() for verb in verbs]:
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        run([verb, "--help"])
    assert printed.getvalue().startswith(f"usage: reverse-codi {{verb}} "), verb
    heavy = [name for name in {HEAVY} if name in sys.modules]
    assert not heavy, (verb, heavy)
"""
IMPORTS = """
import sys
import {module}

heavy = [name for name in {heavy} if name in sys.modules]
assert not heavy, heavy
"""


def in_a_fresh_python(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_help_imports_anything_heavy() -> None:
    in_a_fresh_python(LIGHT)


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("reverse_codi", [*HEAVY, "pydantic", "yaml", "rich"]),
        ("reverse_codi.recipe.schema", [*HEAVY, "rich", "pydantic_settings"]),
    ],
)
def test_imports_of_the_package_and_of_the_schema_are_light(module: str, heavy: list[str]) -> None:
    in_a_fresh_python(IMPORTS.format(module=module, heavy=heavy))


# Sections that are items of a list.
LISTED = (RewardItem, ReinforceStage)


def fields(model: type[BaseModel], before: str = "") -> Iterator[tuple[str, str]]:
    """Every key of a schema with its docstring, those of list items without the list's name."""
    for name, field in model.model_fields.items():
        inner = [t for t in _types(field.annotation) if isinstance(t, type) and issubclass(t, BaseModel)]
        yield before + (field.alias or name), field.description or ""
        for section in inner:
            yield from fields(section, "" if section in LISTED else f"{before}{name}.")


def _types(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _types(part)


def test_the_help_of_train_has_every_key_with_its_docstring() -> None:
    text = parser().format_help()
    words = " ".join(text.split())
    found = list(fields(Recipe))
    assert len(found) > 150
    for key, meaning in found:
        assert meaning, f"{key} has no docstring"
        assert " ".join(meaning.split()) in words, key
        assert f"{key} " in text or f"{key}:" in text, key
    for key in all_keys():
        assert f"--{key} " in text or f"\n{key}:" in text, key


def test_types_and_defaults_are_as_yaml_has_them() -> None:
    words = " ".join(keys_help().split())
    assert "--trace.split {train,heldout} Split that the questions come from: train or heldout." in words
    assert "--reasoner.path str" in words and '(default: "embedded")' in words
    assert "--distill.written.steps int Optimizer steps. (default: 700)" in words
    assert "--distill.latent.steps int Optimizer steps. (default: 3000)" in words
    assert "--distill.lora.rank int LoRA rank. (default: 128)" in words
    assert "--log.artifacts bool" in words and "(default: true)" in words
    assert "schedule.to float Final weight. (required)" in words


def test_the_page_of_commands_is_up_to_date() -> None:
    shown = (ROOT / "docs/commands.md").read_text()
    # Word by word: versions of Python break lines otherwise.
    assert shown.split() == page().split(), "run scripts/make_commands_page"
    for verb in (verb for verbs in GROUPS.values() for verb in verbs):
        assert f"\n## {verb}\n" in shown
