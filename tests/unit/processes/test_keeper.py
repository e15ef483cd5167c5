from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reverse_codi.processes import keeper

ROOT = Path(__file__).parents[3]
SLEEPER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(100)"


def sleeper(output: Path | int) -> subprocess.Popen[bytes]:
    """A process that prints into a file."""
    if isinstance(output, int):
        return subprocess.Popen([sys.executable, "-c", SLEEPER], stdout=output, stderr=output)
    with output.open("w") as file:
        return subprocess.Popen([sys.executable, "-c", SLEEPER], stdout=file, stderr=file)


@pytest.mark.long
def test_who_prints_into_a_session_is_ended_after_the_run_also_if_stopped(tmp_path: Path) -> None:
    session = tmp_path / "session_1"
    (session / "logs").mkdir(parents=True)
    left, stopped = sleeper(session / "logs/agent.out"), sleeper(session / "logs/worker.out")
    other = sleeper(subprocess.DEVNULL)
    reader = subprocess.Popen(["tail", "-f", str(session / "logs/agent.out")], stdout=subprocess.DEVNULL)
    os.kill(stopped.pid, signal.SIGSTOP)
    left_run = sleeper(session / "logs/driver.log")  # the run itself, which ended its Ray and goes on
    try:
        assert {p.pid for p in keeper.of_session(str(session))} == {left.pid, stopped.pid, left_run.pid}
        watching = subprocess.Popen(
            [sys.executable, "-m", keeper.__name__, str(session), str(left_run.pid)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
        )
        time.sleep(0.5)
        assert left.poll() is None  # the run goes on
        assert watching.stdin is not None
        watching.stdin.close()  # as the end of the run does, however it ends
        assert watching.wait(timeout=keeper.GRACE_S + 10) == 0
        assert left.wait(timeout=1) == stopped.wait(timeout=1) == -signal.SIGKILL
        assert [process.poll() for process in (other, reader, left_run)] == [None] * 3
    finally:
        for process in (left, stopped, other, reader, left_run):
            process.kill()
            process.wait()


def test_nothing_left_is_seen_at_once(tmp_path: Path) -> None:
    began = time.monotonic()
    keeper.end(str(tmp_path / "session_2"))
    assert time.monotonic() - began < 5
