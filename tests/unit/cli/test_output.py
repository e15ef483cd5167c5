"""What verbs print, and where: `--json`, `--quiet`, and plain lines where there is no terminal."""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from reverse_codi.cli.main import GROUPS, main, verb_module
from reverse_codi.cli.output import Output, shown, verb
from reverse_codi.cli.parser import Parser
from reverse_codi.utils.command import run_verb
from reverse_codi.utils.console import progress
from reverse_codi.utils.libraries import NO_BARS, NO_NOTICES
from reverse_codi.utils.tables import Table
from tests.fakes import printed, screen
from tests.unit.training.test_curves import LINES

log = logging.getLogger("reverse_codi.somewhere")
ROOT = Path(__file__).parents[3]


def noisy(arguments: Sequence[str], *, aside: bool = False) -> None:
    """A verb that logs, shows, and whose libraries print past Python."""

    @verb(lambda: Parser("reverse-codi noisy"), aside=aside)
    def work(options: argparse.Namespace, out: Output) -> Any:
        log.info("under way")
        log.warning("a notice")
        out.note("a note")
        os.write(1, b"past Python\n")
        print("by a library")
        table = Table("site", "match")
        table.add_row("h0", "0.9")
        out.show(table, "a result")
        return {"match": float("nan"), "where": os.environ.get("TQDM_DISABLE")}

    run_verb(lambda: work(arguments))


def test_without_options_all_is_on_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    noisy([])
    out, err = capfd.readouterr()
    for line in ("under way", "a notice", "a note", "by a library", "h0      0.9", "a result"):
        assert line in out.splitlines()
    assert err == ""


def test_quiet_leaves_results_and_errors(capfd: pytest.CaptureFixture[str]) -> None:
    noisy(["--quiet"])
    out, err = capfd.readouterr()
    assert "h0      0.9" in out and "a result" in out
    for line in ("under way", "a notice", "a note"):
        assert line not in out + err
    with pytest.raises(SystemExit) as stopped:
        run_verb(lambda: main(["recipes", "no-such", "--quiet"]))
    assert stopped.value.code == 2
    assert "no-such" in capfd.readouterr().err


@pytest.mark.parametrize("words", [["--json"], ["--json", "--quiet"]])
def test_json_is_all_that_standard_output_gets(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    noisy(words)
    out, err = capfd.readouterr()
    assert json.loads(out)["match"] is None and "h0" not in err and "a result" not in err
    assert ("under way" in err) == ("a note" in err) == (len(words) == 1)
    assert "past Python" in err and "by a library" in err


def test_a_verb_that_fails_prints_no_json(capfd: pytest.CaptureFixture[str]) -> None:
    @verb(lambda: Parser("reverse-codi failing"))
    def fails(options: argparse.Namespace, out: Output) -> Any:
        raise FileNotFoundError("x.yaml is not there")

    with pytest.raises(SystemExit):
        run_verb(lambda: fails(["--json"]))
    assert capfd.readouterr().out == ""


def test_notes_aside_leave_standard_output_to_results(capfd: pytest.CaptureFixture[str]) -> None:
    noisy([], aside=True)
    out, err = capfd.readouterr()
    assert "a note" in err and "under way" in err and "a note" not in out and "a result" in out


def test_libraries_are_told_while_the_verb_runs_and_the_users_word_counts(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.setenv("TRANSFORMERS_VERBOSITY", "debug")
    seen: dict[str, str | None] = {}

    @verb(lambda: Parser("reverse-codi looking"))
    def look(options: argparse.Namespace, out: Output) -> Any:
        seen.update({name: os.environ.get(name) for name in (*NO_BARS, *NO_NOTICES)})

    look(["--quiet"])
    assert seen == {**NO_BARS, **NO_NOTICES, "TRANSFORMERS_VERBOSITY": "debug"}
    assert "TQDM_DISABLE" not in os.environ
    look([])
    assert seen["TQDM_DISABLE"] == "1" and seen["WANDB_SILENT"] == os.environ.get("WANDB_SILENT")


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_libraries_show_their_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NO_BARS:
        monkeypatch.delenv(name, raising=False)
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, Terminal())
    seen: list[bool] = []

    @verb(lambda: Parser("reverse-codi looking"))
    def look(options: argparse.Namespace, out: Output) -> Any:
        seen.append(any(name in os.environ for name in NO_BARS))

    look([])
    look(["--quiet"])
    assert seen == [False, True]


def test_progress_is_silent_where_the_verb_is(capfd: pytest.CaptureFixture[str]) -> None:
    @verb(lambda: Parser("reverse-codi working"))
    def works(options: argparse.Namespace, out: Output) -> Any:
        with progress("traces", 2) as advance:
            advance(1)

    works(["--quiet"])
    assert capfd.readouterr() == ("", "")


def test_long_lines_go_on_between_words_and_paths_stay_whole() -> None:
    console, path = screen(40), "runs/" + "a" * 60
    shown(console, f"  {'word ' * 12}{path} end", "  short")
    lines = printed(console).splitlines()
    assert lines[:2] == ["  word word word word word word word", "  word word word word word"]
    assert lines[2:] == [f"  {path}", "  end", "  short"]


def test_every_verb_has_both_options() -> None:
    for name in (name for names in GROUPS.values() for name in names):
        made = verb_module(name).parser()
        parts = made.parts if name == "rewards" else [made, *made.parts]
        for part in parts:
            assert {"--quiet", "--json"} <= part._option_string_actions.keys(), name


RUN = ("CURVES", "--figures", "claim", "--out", "OUT/page.html")


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["recipes"], "tiny"),
        (["recipes", "tiny"], "trace"),
        (["rewards", "list"], "hidden_match"),
        (["rewards", "show", "contrastive"], "options"),
        (["curves", *RUN], "CURVES"),
        (["train", "tiny", "--dry-run"], "memory"),
    ],
)
def test_json_of_quick_verbs(
    words: list[str], key: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "stages.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    named = {"CURVES": str(run), "OUT/page.html": str(tmp_path / "page.html")}
    main([*(named.get(word, word) for word in words), "--json"])
    found = json.loads(capfd.readouterr().out)
    assert found[named.get(key, key)]


def test_a_dry_run_as_json_has_the_whole_plan(capfd: pytest.CaptureFixture[str]) -> None:
    main(["train", "tiny", "--dry-run", "--json"])
    found = json.loads(capfd.readouterr().out)
    assert found["recipe"]["reasoner"]["path"] == "embedded"
    assert found["memory"]["peaks"].keys() >= {"trainer: traces", "rollout", "reward"}
    assert any("reward actor(s)" in line for line in found["placement"])
    main(["train", "tiny", "--dry-run", "--quiet"])
    quiet = capfd.readouterr()
    assert "memory of each process, GiB" in quiet.out and quiet.err == ""


@pytest.mark.long
def test_a_translation_that_is_piped_has_no_bars_and_no_colours(tmp_path: Path) -> None:
    """The embedded model is loaded, whose weights have a bar on a terminal."""
    question = "Ann has 12 apples. She buys 5 more. How many apples does she have?"
    environment = {name: value for name, value in os.environ.items() if name not in NO_BARS}
    command = [sys.executable, "-m", "reverse_codi.cli", "verbalize", question, "--json"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True, timeout=250
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert {row["site"] for row in rows} == {"h0", "h1", "h2", "h3"} and rows[0]["question"] == question
    assert b"\r" not in done.stderr and b"\x1b" not in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("option", "stream"), [("--quiet", None), ("--json", "err"), ("--no-such", None), ("", "out")]
)
def test_where_caches_go_is_a_notice_like_others(option: str, stream: str | None, tmp_path: Path) -> None:
    """The home folder cannot be written to, which is known before the options are."""
    gone = ("HF_", "WANDB_", "VLLM_", "TRITON_", "XDG_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(gone)}
    given = kept | {"HOME": "/proc/nowhere", "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "reverse_codi.cli", "recipes", *filter(None, [option])]
    done = subprocess.run(command, cwd=tmp_path, env=given, capture_output=True, text=True, timeout=120)
    assert done.returncode == (2 if option == "--no-such" else 0), done.stderr
    notices = {
        name: text.count("caches go to") for name, text in (("out", done.stdout), ("err", done.stderr))
    }
    assert notices == {"out": int(stream == "out"), "err": int(stream == "err")}
    assert option != "--json" or "tiny" in json.loads(done.stdout)
