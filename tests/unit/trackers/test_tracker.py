from __future__ import annotations

import io
import os
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import wandb
from rich.console import Console

from reverse_codi.recipe.run import LogSection
from reverse_codi.recipe.schema import Recipe
from reverse_codi.trackers import wandb_server as tracker
from reverse_codi.trackers.tracker import log_point, tracked
from reverse_codi.trackers.wandb_server import refusal, start_wandb
from reverse_codi.utils.log import show_log
from tests.trackers import wandb_files

KEY = "0123456789" * 4


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No login and no settings but those of the test, and W&B as it was afterwards."""
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    for name in ("WANDB_MODE", "WANDB_PROJECT", "WANDB__SERVICE_WAIT"):  # else what is set here would stay
        monkeypatch.setenv(name, "x")
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)
    wandb.teardown()
    yield
    wandb.teardown()


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(8)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def closed() -> str:
    """An address where nothing listens."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{server.getsockname()[1]}"


class Answers(BaseHTTPRequestHandler):
    """Answers every question with the server's status; remembers what it was asked."""

    asked: list[str] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        Answers.asked.append(f"{self.path} {self.headers.get('Authorization', '').partition(' ')[0]}")
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.end_headers()
        self.wfile.write(b'{"data": {"viewer": {"id": "x"}}}')

    def log_message(self, *words: Any) -> None:
        pass


@pytest.fixture
def answering() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), Answers)
    server.status = 200  # type: ignore[attr-defined]
    Answers.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def address(server: HTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def started() -> str:
    """What `start_wandb` prints."""
    console = show_log(Console(file=io.StringIO(), width=60))
    start_wandb("mine")
    message = console.file.getvalue()  # type: ignore[attr-defined]
    assert message.count("\n") <= 1
    return str(message)


def test_a_server_that_refuses_or_never_answers_is_found_out_in_seconds(silent: str, closed: str) -> None:
    start = time.monotonic()
    assert refusal(closed, KEY, 5.0) == "cannot be reached"
    assert refusal(silent, KEY, 0.3) == "does not answer in 0.3 s"
    assert tracker._asked(silent, KEY, 0.3) == "does not answer in 0.3 s"  # whichever limit is first
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    ("status", "key", "message"),
    [
        (200, KEY, ""),
        (401, KEY, "does not take the API key (HTTP 401)"),
        (401, None, ""),  # another kind of login, which only W&B can use
        (503, KEY, "answers HTTP 503"),
        (404, None, "answers HTTP 404"),
    ],
)
def test_a_server_is_asked_who_the_user_is(
    answering: HTTPServer, status: int, key: str | None, message: str
) -> None:
    answering.status = status  # type: ignore[attr-defined]
    assert refusal(address(answering), key, 20.0) == message
    assert Answers.asked == [f"/graphql {'Basic' if key else ''}"]


@pytest.mark.parametrize("which", ["closed", "silent"])
def test_without_network_a_run_is_kept_offline_and_one_line_says_so(
    which: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", host := request.getfixturevalue(which))
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setattr(tracker, "ANSWER_S", 0.5)
    start = time.monotonic()
    message = started()
    assert time.monotonic() - start < 20  # of W&B's 90, on a busy machine
    assert (
        host in message and "figures are kept offline in wandb/, and `wandb sync` sends them later" in message
    )
    assert started() == ""  # asked and printed once
    with tracked(Recipe(log=LogSection(project="mine")), "a stage", tmp_path / "out") as reporting:
        assert len(reporting) == 1
        log_point({"heldout/match": 0.25}, 3)
    assert wandb.run is None
    wandb.teardown()  # its service may still be writing
    [run] = wandb_files(tmp_path / "wandb")
    assert run.points("heldout/match") == [(3, 0.25)]
    assert (run.job, run.project) == ("a stage", "mine")


def test_without_a_login_no_server_is_asked(monkeypatch: pytest.MonkeyPatch, answering: HTTPServer) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", address(answering))
    assert "nobody is logged in (`wandb login`); figures are kept offline" in started()
    assert os.environ["WANDB_MODE"] == "offline" and Answers.asked == []


def test_with_login_and_server_runs_go_to_the_users_project(
    monkeypatch: pytest.MonkeyPatch, answering: HTTPServer
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", address(answering))
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert started() == ""
    assert "WANDB_MODE" not in os.environ and os.environ["WANDB_PROJECT"] == "mine"
    assert Answers.asked == ["/graphql Basic"]


@pytest.mark.parametrize("mode", ["offline", "dryrun", "disabled"])
def test_who_wants_no_server_gets_no_line(mode: str, monkeypatch: pytest.MonkeyPatch, closed: str) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", closed)
    monkeypatch.setenv("WANDB_MODE", mode)
    assert started() == ""
    assert os.environ["WANDB_MODE"] == mode


def test_a_network_that_goes_between_question_and_run_costs_no_run(
    monkeypatch: pytest.MonkeyPatch,
    answering: HTTPServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", address(answering))
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    init = wandb.init

    def lost(**how: Any) -> Any:
        if os.environ.get("WANDB_MODE") != "offline":
            raise wandb.errors.CommError("Timed out while retrying: Post\nConsider more")
        return init(**how)

    monkeypatch.setattr(wandb, "init", lost)
    with tracked(Recipe(), "a stage", tmp_path / "out"):
        log_point({"x": 1.0})
    assert "W&B: Timed out while retrying: Post; figures are kept" in caplog.text
    assert list((tmp_path / "wandb").glob("offline-run-*"))


def test_without_trackers_in_the_recipe_nothing_is_started(tmp_path: Path) -> None:
    with tracked(Recipe(log=LogSection(report_to=[])), "a stage", tmp_path / "out") as reporting:
        log_point({"x": 1.0}, 1)
    assert reporting == [] and not list(tmp_path.iterdir())


def test_in_a_ray_job_the_files_of_wandb_lie_with_the_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    copy = tmp_path / "working_dir_files/_ray_pkg_1"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("WANDB_MODE", "offline")
    with tracked(Recipe(log=LogSection(project="mine")), "a stage", tmp_path / "out"):
        log_point({"heldout/match": 0.25}, 3)
    wandb.teardown()  # its service may still be writing
    [run] = wandb_files(tmp_path / "out/wandb")
    assert run.points("heldout/match") == [(3, 0.25)]
    assert list(copy.iterdir()) == []
