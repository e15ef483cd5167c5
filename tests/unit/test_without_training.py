"""What works where the extra `train` is not installed: ray, trl and wandb are kept from being imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.long

QUESTION = "Ann has 12 apples. She buys 5 more. How many apples does she have?"
# A module that is None there counts as not installed, for an import and for `find_spec`.
WITHOUT = """
import sys
sys.modules |= dict.fromkeys(("ray", "trl", "wandb"))
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", WITHOUT + code], capture_output=True, text=True)


def verb(*words: str) -> subprocess.CompletedProcess[str]:
    return run(f"from reverse_codi.cli.main import main; main({list(words)!r})")


def test_questions_are_translated() -> None:
    done = verb("verbalize", QUESTION)
    assert done.returncode == 0, done.stderr
    assert "12 + 5 = 17" in done.stdout


def test_the_public_api_translates_and_says_what_training_takes() -> None:
    done = run(
        f"""
from reverse_codi import Reasoner, Recipe, TraceStore, Verbalizer
assert Verbalizer.from_pretrained().translate({QUESTION!r})[0].text == "12 + 5 = 17."
try:
    from reverse_codi import train
except ValueError as error:
    print(error)
"""
    )
    assert done.returncode == 0, done.stderr
    assert "is not installed; training takes it: pip install 'reverse_codi[train]'" in done.stdout


def test_a_verb_that_trains_ends_in_one_line() -> None:
    done = verb("train", "tiny")
    assert done.returncode == 1
    *_, last = done.stderr.splitlines()
    assert last == "error: ray is not installed; training takes it: pip install 'reverse_codi[train]'"
    assert "Traceback" not in done.stderr


def test_every_verb_has_help() -> None:
    for word in ("train", "evaluate", "demo", "trace", "ablate"):
        assert verb(word, "--help").returncode == 0, word
