"""The command as a user meets it: verbs, mistakes, exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import reverse_codi
from reverse_codi.cli.main import GROUPS, main, verb_module

VERBS = [verb for verbs in GROUPS.values() for verb in verbs]


def ended(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[object, str]:
    """Exit code and the one line on standard error."""
    with pytest.raises(SystemExit) as stopped:
        main(words)
    return stopped.value.code, capsys.readouterr().err


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, timeout=250)


def test_every_verb_has_a_module_of_its_name_with_a_parser() -> None:
    folder = Path(reverse_codi.__file__).parent / "cli"
    helpers = {"__init__", "__main__", "main", "output", "parser", "recipe_keys", "commands_page"}
    modules = {file.stem.replace("_", "-") for file in folder.glob("*.py") if file.stem not in helpers}
    assert modules == set(VERBS)
    for verb in VERBS:
        parser = verb_module(verb).parser()
        assert parser.prog == f"reverse-codi {verb}" and not parser.allow_abbrev
        assert parser.description


def test_the_help_lists_every_verb_in_its_group(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    for group, verbs in GROUPS.items():
        start = lines.index(f"{group}:")
        assert [line.split()[0] for line in lines[start + 1 : start + 1 + len(verbs)]] == list(verbs)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "no verb is given"),
        (["trian", "tiny"], "there is no verb 'trian'; did you mean 'train'?"),
        (["qqqq"], "there is no verb 'qqqq'; reverse-codi --help lists them"),
        (["train"], "no recipe is given; write a file or a name first, e.g. tiny"),
        (["train", "--resume"], "no recipe is given"),
        (["train", "tiny", "more"], "'more' is one argument too many"),
        (["train", "tiny", "--dry"], "unknown option --dry; did you mean --dry-run?"),
        (["train", "tiny", "--grpo-steps", "3"], "unknown option --grpo-steps; did you mean --grpo.steps?"),
        (["train", "tiny", "--grpo.step", "3"], "tiny: unknown key 'grpo.step'; did you mean 'grpo.steps'?"),
        (["train", "tiny", "--grpo.steps", "-1"], "tiny: grpo.steps = -1: input should be greater"),
        (["train", "tiny", "--grpo.steps"], "--grpo.steps has no value; write --grpo.steps VALUE"),
        (["train", "tiny", "--log", "{wandb: no, wandb: yes}"], "key 'wandb' stands twice"),
        (["train", "tinny"], "no recipe at tinny; did you mean 'tiny'"),
        (["verbalize", "--sample", "3"], "unknown option --sample; did you mean --samples?"),
        (["evaluate", "--baseline", "gould", "embedded"], "no control is named 'gould'"),
        (["rewards"], "list|show|try"),
        (["paired", "before"], "required: AFTER"),
    ],
)
def test_a_wrong_command_is_told_in_one_line_and_ends_with_2(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, message = ended(capsys, *words)
    assert code == 2
    assert message.startswith("error: ") and told in message
    assert message.count("\n") == 1


@pytest.mark.long
def test_a_failure_at_work_ends_with_1_and_no_traceback(tmp_path: Path) -> None:
    done = run("reverse_codi.cli", "paired", str(tmp_path), str(tmp_path))
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("error: no ") and "Traceback" not in done.stderr


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--version"])
    assert capsys.readouterr().out == f"reverse-codi {reverse_codi.__version__}\n"


@pytest.mark.long
@pytest.mark.parametrize("verb", ["train", "verbalize"])
def test_a_module_that_is_run_is_its_verb(verb: str) -> None:
    done = run(f"reverse_codi.{verb}", "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: reverse-codi {verb} ")


def test_the_package_that_is_run_is_the_command() -> None:
    done = run("reverse_codi", "--version")
    assert (done.returncode, done.stdout) == (0, f"reverse-codi {reverse_codi.__version__}\n"), done.stderr
