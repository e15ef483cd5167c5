from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from reverse_codi.storage.lock import LOCK, InUseError, check_free, owned
from reverse_codi.storage.outputs import OutputError

HOLDS = """
import sys, time
from reverse_codi.storage.lock import owned
with owned(sys.argv[1], "train.out"):
    print("held", flush=True)
    time.sleep(600)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLDS, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_refused_in_one_line_and_a_dead_one_holds_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "runs/train"
    process = holder(folder)
    try:
        with pytest.raises(InUseError) as refused, owned(folder, "train.out"):
            pytest.fail("two runs in one folder")
        assert str(refused.value).startswith(
            f"train.out = {folder} is in use by process {process.pid} on host {socket.gethostname()} (since "
        )
        assert str(refused.value).endswith("wait until it ends, stop it, or set another train.out")
        with pytest.raises(InUseError):
            check_free(folder, "--out")
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert (folder / LOCK).is_file()
    check_free(folder, "--out")
    with owned(folder, "train.out"):
        assert (folder / LOCK).is_file()
    assert not (folder / LOCK).exists()


def test_it_holds_within_a_process_too_and_ends_with_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), owned(tmp_path, "train.out"):
        with pytest.raises(InUseError, match=f"process {os.getpid()}"), owned(tmp_path, "train.out"):
            pass
        raise KeyError
    with owned(tmp_path, "train.out"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_writes_nothing_leaves_no_folder(tmp_path: Path) -> None:
    with owned(tmp_path / "a/b", "train.out"):
        assert (tmp_path / "a/b").is_dir()
    assert list(tmp_path.iterdir()) == []
    with owned(tmp_path / "a/b", "train.out"):
        (tmp_path / "a/kept").touch()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["kept"]
    check_free(tmp_path / "nowhere", "--out")
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_that_cannot_be_made_is_an_error_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputError, match=r"train\.out = .* is not a folder"),
        owned(tmp_path / "file/x", "train.out"),
    ):
        pass


def test_a_lock_whose_file_was_removed_meanwhile_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    flock = fcntl.flock

    def released_between(opened: int, how: int) -> None:
        if not calls:
            (tmp_path / LOCK).unlink()  # as its holder does when it ends
        calls.append(opened)
        flock(opened, how)

    monkeypatch.setattr(fcntl, "flock", released_between)
    with owned(tmp_path, "train.out"):
        assert len(calls) == 2
        with pytest.raises(InUseError), owned(tmp_path, "train.out"):
            pass


def test_without_locks_of_the_file_system_it_says_so_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none(opened: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", none)
    with caplog.at_level("WARNING", "reverse_codi"), owned(tmp_path, "train.out"):
        pass
    assert "has no locks (No locks available): see to it yourself that no other run" in caplog.text
    assert list(tmp_path.iterdir()) == []
