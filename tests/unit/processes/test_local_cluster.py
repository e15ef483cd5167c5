from __future__ import annotations

import json
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from reverse_codi.cli.jobs.cluster import run
from reverse_codi.processes import local_cluster
from reverse_codi.processes.environment import MachineError
from reverse_codi.processes.local_cluster import MARK, OUTPUT, STATE, TOKEN, start, stop
from reverse_codi.processes.loopback import SWITCH
from reverse_codi.processes.marked_processes import end, marked

# A parent that starts a child in a session of its own and ends, and a child that does not heed SIGTERM.
ORPHAN = """
import subprocess, sys, time
deaf = "import signal as s, time; s.signal(s.SIGTERM, s.SIG_IGN); print(1, flush=True); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", deaf], start_new_session=True, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid)
"""


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder whose name is short enough for Ray's sockets, a home without a token."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    with tempfile.TemporaryDirectory(prefix="c", dir="/tmp") as folder:  # pytest's own are too long
        yield Path(folder)


def test_orphans_are_found_by_their_mark_and_ended_though_they_are_deaf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reverse_codi.processes.marked_processes.END_S", 0.5)
    monkeypatch.setenv("SOME_MARK", str(tmp_path))
    done = subprocess.run([sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE, text=True, check=True)
    monkeypatch.delenv("SOME_MARK")
    found = marked("SOME_MARK", str(tmp_path))
    assert [process.pid for process in found] == [int(done.stdout)]
    end(found)
    assert marked("SOME_MARK", str(tmp_path)) == []
    assert not psutil.pid_exists(int(done.stdout)) or psutil.Process(int(done.stdout)).status() == "zombie"


def test_the_processes_of_others_are_not_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SOME_MARK", str(tmp_path / "other"))
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as other:
        assert marked("SOME_MARK", str(tmp_path)) == []
        assert [process.pid for process in marked("SOME_MARK", str(tmp_path / "other"))] == [other.pid]
        other.kill()


def test_a_token_is_made_that_this_user_alone_can_read(short: Path) -> None:
    local_cluster._make(short)
    environment = local_cluster._environment(short)
    file = short / TOKEN
    assert environment["RAY_AUTH_MODE"] == "token" and environment["RAY_AUTH_TOKEN_PATH"] == str(file)
    assert len(file.read_text()) == 64 and stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(short.stat().st_mode) == 0o700
    assert (environment[SWITCH], environment[MARK]) == ("0", str(short))
    assert environment["PATH"].startswith(str(Path(sys.executable).parent))


def test_a_token_that_ray_finds_is_taken(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = Path.home() / ".ray/auth_token"
    theirs.parent.mkdir()
    theirs.write_text("secret")
    assert local_cluster._environment(short)["RAY_AUTH_TOKEN_PATH"] == str(theirs)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "given")
    environment = local_cluster._environment(short)
    assert "RAY_AUTH_TOKEN_PATH" not in environment
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert local_cluster._environment(short)["RAY_AUTH_MODE"] == "disabled"
    assert not (short / TOKEN).exists()


def test_what_cannot_be_started_is_refused_at_once(short: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(MachineError, match=rf"--server-port {port}: .*give another, or 0 for a free one"):
            start(short, 0, port, None, None)
    with pytest.raises(MachineError, match=r"is too long for Ray's sockets, give --folder of \d+ bytes"):
        start(tmp_path / ("long" * 20), 0, 0, None, None)
    (short / "thesis.tex").touch()
    with pytest.raises(MachineError, match="holds other files; give another --folder"):
        start(short, 0, 0, None, None)
    assert (short / "thesis.tex").exists()
    (short / "link").symlink_to(short)
    with pytest.raises(MachineError, match="belongs to someone else"):
        start(short / "link", 0, 0, None, None)


def test_status_and_stop_where_nothing_runs(short: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (short / OUTPUT).touch()
    state = {"address": "127.0.0.1:1", "server": "http://127.0.0.1:2", "auth": {}}
    (short / STATE).write_text(json.dumps(state))
    with pytest.raises(SystemExit) as status:
        run(["status", "--folder", str(short)])
    assert status.value.code == 1
    assert stop(short) == 0
    run(["stop", "--folder", str(short)])
    assert capsys.readouterr().out.splitlines() == [f"no cluster runs in {short}", "0 processes ended"]
