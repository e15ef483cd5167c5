"""Options of a verb and keys of a recipe, in any order."""

from __future__ import annotations

import pytest

from reverse_codi.cli import evaluate, train


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (["tiny", "--resume", "--grpo.steps", "3"], ["--grpo.steps", "3"]),
        (["--grpo.steps", "3", "tiny", "--resume"], ["--grpo.steps", "3"]),
        (["--resume", "--grpo.steps=3", "tiny"], ["--grpo.steps=3"]),
        (["tiny", "--resume", "--log", "{wandb: no}"], ["--log", "{wandb: no}"]),
        (
            ["tiny", "--resume", "--task.options", "{a: 1}", "--grpo.beta", "-1"],
            ["--task.options", "{a: 1}", "--grpo.beta", "-1"],
        ),
        (["tiny", "--resume", "--grpo.steps", "--grpo.beta", "1"], ["--grpo.steps", "--grpo.beta", "1"]),
    ],
)
def test_keys_are_told_from_options_and_arguments(words: list[str], keys: list[str]) -> None:
    options, found = train.parser().parse_with_keys(words)
    assert (options.recipe, options.resume, found) == ("tiny", True, keys)


def test_an_option_of_the_verb_wins_over_a_section_of_its_name() -> None:
    words = ["--reasoner", "a/b", "--task", "gsm8k", "--reasoner.device", "cuda"]
    options, keys = evaluate.parser().parse_with_keys(words)
    assert (options.reasoner, options.task, keys) == ("a/b", "gsm8k", ["--reasoner.device", "cuda"])
