from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import ray

from reverse_codi.processes import ray_session
from reverse_codi.processes.actor_requests import answers
from reverse_codi.training import placement


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that stands for a raylet."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    made = ray_session.Session(str(tmp_path), {"raylet": psutil.Process(process.pid)}, None)
    monkeypatch.setattr(ray_session, "_session", made)
    yield process
    process.kill()
    process.wait()


def test_a_ray_that_lives_is_waited_for(part: subprocess.Popen[bytes], tmp_path: Path) -> None:
    ray_session.check_alive()
    assert ray_session.folder() == str(tmp_path)


def test_one_that_died_is_an_error_also_while_nobody_has_asked_for_its_exit_code(
    part: subprocess.Popen[bytes],
) -> None:
    part.kill()
    for reap in (False, True):
        if reap:
            part.wait()
        with pytest.raises(
            ray_session.RayDiedError, match=rf"its raylet, .*process {part.pid}.*raylet\.out.*--resume"
        ):
            while True:  # the kernel takes a moment
                ray_session.check_alive()


def test_one_that_died_is_asked_for_nothing_but_its_end(
    part: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request to a head that is gone waits for a minute, and then Ray's own code ends the process."""
    asked: list[str] = []
    monkeypatch.setattr(ray, "shutdown", lambda: asked.append("shutdown"))
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(placement, "remove_placement_group", lambda group: asked.append("remove"))
    assert ray_session.lives()
    part.kill()
    part.wait()
    assert not ray_session.lives()
    placement.Placement(object(), []).close()  # type: ignore[arg-type]
    with pytest.raises(ray_session.RayDiedError):
        answers({}, None, 1.0)  # type: ignore[arg-type]
    ray_session.end()
    assert asked == ["shutdown"] and ray_session.folder() == ""


def test_a_ray_that_someone_else_began_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []
    monkeypatch.setattr(ray, "shutdown", lambda: ended.append(True))
    monkeypatch.setattr(ray_session, "_session", None)
    ray_session.check_alive()
    ray_session.end()
    assert ended == [] and ray_session.folder() == ""
    ray_session.joined()
    with ray_session.ended():
        assert ray_session.folder() == ""
    assert ended == [True]
