"""A verb's terminal: closed pipes, and progress with and without a terminal."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from reverse_codi.utils import console as module
from reverse_codi.utils.console import VerbConsole, counted, progress

VERB = """
import sys
from reverse_codi.utils.config import run_verb
from reverse_codi.utils.console import VerbConsole

def main():
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


@pytest.mark.parametrize("how", ["print", "rich"])
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


def test_without_a_terminal_progress_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.0, 10.0, 40.0, 50.0, 90.0])
    monkeypatch.setattr(module, "monotonic", lambda: next(clock))
    console = Console(file=io.StringIO(), width=100)
    with progress(console, "traces", 3_000, done=1_000) as advance:
        for n in (100, 300, 100, 1_500):  # after 10, 40, 50 and 90 s
            advance(n)
    # 400 of the 2,000 in 40 s: 1,600 are left, at 10 a second; what is done needs no line.
    assert console.file.getvalue() == "traces: 1,400 of 3,000, 2.7 minutes left\n"  # type: ignore[attr-defined]


def test_on_a_terminal_progress_is_a_bar() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    with progress(console, "traces", 3_000, done=1_000) as advance:
        advance(500)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "traces" in shown and "1500/3000" in shown


def test_jobs_that_follow_one_another_have_a_bar_each() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    with counted(console, "texts") as report:
        report(3, 3)
        for done in (2, 4, 5):
            report(done, 5)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "3/3" in shown and "5/5" in shown and "8/" not in shown


def test_json_is_not_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    module.notes(VerbConsole(width=20))(json.dumps(["[red]" * 20]))
    assert json.loads(capsys.readouterr().out) == ["[red]" * 20]
