"""`scripts/cluster`, and a job that is refused; `tests/jobs` has jobs that train."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.clusters import Head, command, head, listening

pytestmark = pytest.mark.long

DRIVER = """
import ray
from reverse_codi.training.runtime import start_ray
start_ray()
print("CPUs", ray.cluster_resources()["CPU"])
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    with head(tmp_path_factory.mktemp("home")) as made:
        yield made


def test_this_machine_alone_can_reach_it_and_only_with_the_token(running: Head) -> None:
    everyone = running.processes()
    assert {"raylet", "gcs_server"} <= {process.name() for process in everyone}
    assert listening(everyone) == {"127.0.0.1"}
    jobs = f"{running.cluster.server}/api/jobs/"
    assert requests.get(jobs, timeout=10).status_code == 401
    token = Path(running.environment["RAY_AUTH_TOKEN_PATH"]).read_text()
    allowed = requests.get(jobs, headers={"Authorization": f"Bearer {token}"}, timeout=10)
    assert allowed.json() == []
    suffixes = (".log", ".out", ".err")
    logged = [file for file in running.folder.rglob("*") if file.is_file() and file.suffix in suffixes]
    assert logged and not any(token in file.read_text(errors="replace") for file in logged)


def test_status_says_what_start_said_and_a_second_start_is_refused(running: Head) -> None:
    where = ("--folder", str(running.folder))
    said = command("status", *where, environment=running.environment)
    assert said.returncode == 0 and f"RAY_API_SERVER_ADDRESS={running.cluster.server}" in said.stdout
    again = command("start", *where, environment=running.environment)
    assert again.returncode == 1 and "scripts/cluster stop" in again.stderr
    assert again.stderr.count("\n") == 1


def test_a_driver_outside_a_job_joins_by_address(running: Head) -> None:
    environment = {**running.environment, "RAY_ADDRESS": running.cluster.address}
    joined = Head(running.folder, environment, running.cluster).run(sys.executable, "-c", DRIVER)
    assert joined.stdout.splitlines()[-1:] == ["CPUs 2.0"], joined.stderr


def test_a_job_with_a_path_of_another_machine_fails_in_one_line_that_names_it(
    running: Head, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text("log: {report_to: []}\nreasoner: {path: /home/me/reasoner}\n")
    done = running.submit(tmp_path, "python", "-m", "reverse_codi.train", "mine.yaml")
    assert done.returncode == 1
    line = "error: not on the machine that runs this job: reasoner.path = /home/me/reasoner. Put such files"
    assert line in done.stdout
    assert "Traceback" not in done.stdout
    assert "failed with exit code 2" in done.stdout
