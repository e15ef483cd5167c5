"""A verb's terminal: closed pipes, and progress with and without a terminal."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from reverse_codi.utils import console as module
from reverse_codi.utils.command import run_verb
from reverse_codi.utils.console import VerbConsole, counted, progress
from reverse_codi.utils.log import hide_log, log_console, notes, show_log
from reverse_codi.utils.tables import Table

log = logging.getLogger("reverse_codi.somewhere")

VERB = """
import logging
import sys
from reverse_codi.utils.command import run_verb
from reverse_codi.utils.console import VerbConsole
from reverse_codi.utils.log import show_log

log = logging.getLogger("reverse_codi.somewhere")

def main():
    if sys.argv[1] == "log":
        show_log(VerbConsole())
        for n in range(100_000):
            log.info(str(n))
        open(sys.argv[2], "w").write("saved")
        return
    if sys.argv[1] == "print":
        for n in range(20_000):  # more than a pipe holds
            print(n)
        raise AssertionError("the pipe is closed")
    console = VerbConsole()
    for n in range(2_000):
        console.print(n)
    open(sys.argv[2], "w").write("saved")

run_verb(main)
"""


@pytest.mark.long
@pytest.mark.parametrize("how", ["print", "rich", "log"])
def test_a_closed_pipe_ends_quietly_and_work_goes_on(tmp_path: Path, how: str) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", VERB, how, str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as verb:
        assert verb.stdout is not None and verb.stderr is not None
        assert verb.stdout.readline() == "0\n"
        verb.stdout.close()
        assert verb.stderr.read() == ""
        assert verb.wait(60) == 0
    assert how == "print" or out.read_text() == "saved"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds at which the time is asked for."""
    times = iter([0.0, 0.0, 10.0, 40.0, 50.0, 90.0])
    monkeypatch.setattr(module, "monotonic", lambda: next(times))


def advanced() -> None:
    with progress("traces", 3_000, done=1_000) as advance:
        for n in (100, 300, 100, 1_500):  # after 10, 40, 50 and 90 s
            advance(n)


# 400 of the 2,000 in 40 s: 1,600 are left, at 10 a second; what is done needs no line.
LINE = "traces: 1,400 of 3,000, 2.7 minutes left"


@pytest.mark.usefixtures("clock")
def test_without_a_terminal_progress_is_a_line_now_and_then() -> None:
    console = show_log(Console(file=io.StringIO(), width=20))
    advanced()
    assert printed_on(console) == f"{LINE}\n"


@pytest.mark.usefixtures("clock")
def test_where_no_verb_runs_progress_is_logged(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO, "reverse_codi")
    advanced()
    assert caplog.messages == [LINE] and capsys.readouterr() == ("", "")


def printed_on(console: Console) -> str:
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def terminal() -> Console:
    return show_log(Console(file=io.StringIO(), width=100, force_terminal=True))


def test_on_a_verbs_terminal_progress_is_a_bar() -> None:
    console = terminal()
    with progress("traces", 3_000, done=1_000) as advance:
        advance(500)
    shown = printed_on(console)
    assert "traces" in shown and "1500/3000" in shown


def test_jobs_that_follow_one_another_have_a_bar_each() -> None:
    console = terminal()
    with counted("texts") as report:
        report(3, 3)
        for done in (2, 4, 5):
            report(done, 5)
    shown = printed_on(console)
    assert "3/3" in shown and "5/5" in shown and "8/" not in shown


def test_the_bar_of_a_part_stands_below_that_of_the_job_and_goes_with_it() -> None:
    console = terminal()
    with progress("evaluation", 19) as advance:
        for _ in range(2):
            with progress("warm start", 600, done=100) as step:
                step(150)
            advance(1)
    shown = printed_on(console)
    assert "evaluation" in shown and "2/19" in shown and "warm start" in shown
    with progress("again", 1):
        pass
    assert "again" in printed_on(console)


def test_a_job_that_fails_leaves_no_bar_behind() -> None:
    console = terminal()
    with pytest.raises(ValueError, match="no"), progress("first", 3), progress("part", 2):
        raise ValueError("no")
    with progress("second", 3) as advance:
        advance(3)
    assert "3/3" in printed_on(console).rpartition("second")[2]


def test_a_silent_console_shows_no_bar() -> None:
    console = show_log(Console(file=io.StringIO(), force_terminal=True, quiet=True))
    with progress("traces", 2) as advance:
        advance(1)
    assert printed_on(console) == ""


def test_json_is_not_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    notes(VerbConsole(width=20))(json.dumps(["[red]" * 20]))
    assert json.loads(capsys.readouterr().out) == ["[red]" * 20]


def test_a_verb_shows_the_log_as_it_is_and_once() -> None:
    first = show_log(Console(file=io.StringIO(), width=20))
    second = show_log(Console(file=io.StringIO(), width=20))
    show_log(second)
    lines = ["[red]a line that is longer than the console is wide[/red]", "a notice :smile: 100 %"]
    log.info(lines[0])
    log.warning(lines[1])
    log.debug("a detail")
    assert printed_on(first) == "" and printed_on(second).splitlines() == lines


def test_warnings_are_yellow() -> None:
    console = terminal()
    log.info("a line with 1 number")
    log.warning("a notice")
    assert printed_on(console) == "a line with 1 number\n\x1b[33ma notice\x1b[0m\n"


def test_the_users_configuration_is_left_alone_and_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    root, before = logging.getLogger(), (*logging.getLogger().handlers, logging.getLogger().level)
    caplog.set_level(logging.WARNING, "reverse_codi")
    console = show_log(Console(file=io.StringIO(), width=100))
    log.warning("to the verb")
    assert (*root.handlers, root.level) == before and caplog.messages == []
    hide_log()
    log.info("too little to show")
    log.warning("to the user")
    assert caplog.messages == ["to the user"] and printed_on(console) == "to the verb\n"
    hide_log()  # nothing is left to hide


@pytest.mark.parametrize("stream", ["out", "err"])
def test_run_verb_shows_the_log_where_the_verb_wants_it(
    stream: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        if stream == "out":
            show_log(VerbConsole())
        log.warning("a notice")

    run_verb(main)
    log.warning("after the verb")
    assert getattr(capsys.readouterr(), stream) == "a notice\n"
    assert log_console() is None


def test_a_text_commands_no_terminal() -> None:
    """Questions and texts come from files of others: a window's title, a cleared screen."""
    file = io.StringIO()
    console = VerbConsole(file=file, force_terminal=True, width=80)
    table = Table("text", texts=["text"])
    table.add_row("12\x1b[2J\x1b]0;title\x07 + 5")
    console.print(Text("a\x1b[2Jb", style="bold"), "c\u202ed", table)
    out = file.getvalue()
    assert "\x1b[2J" not in out and "\x1b]0;" not in out and "\u202e" not in out and "\x07" not in out
    assert "a\\x1b[2Jb" in out and "c\\u202ed" in out and "\\x1b[2J" in out
    assert "\x1b[1m" in out  # its own styles are kept
