"""Trainings as Ray jobs: a real head, the real job server, `ray job submit` as a user types it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml
from ray.job_submission import JobStatus

from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.verbalize.policy import Policy
from tests.clusters import RAY, Head, head
from tests.tiny import make_sharp_reasoner

pytestmark = [pytest.mark.job, pytest.mark.timeout(900)]

TRAIN = ("python", "-m", "reverse_codi.train", "mine.yaml")
RECIPE = {
    "log": {"report_to": []},
    "reasoner": {"path": "reasoner"},
    "trace": {"out": "runs/mine/traces", "n": 240, "n_heldout": 60, "shard_rows": 120},
    "reading": {"encoded_threshold": 0.01, "fit_on": "gold"},
    "verbalizer": {"rank": 4, "alpha": 8},
    "warm_start": {"kind": "gold", "steps": 40, "batch_size": 32, "eval_steps": 40, "learning_rate": 1e-2},
    "rollout": {"cpus": 0.4, "engine": {"kind": "transformers", "max_model_len": 64}},
    "reward": {"cpus_per_actor": 0.4, "functions": ["hidden_match", "./rewards/mine.py:short"]},
    "grpo": {
        "steps": 2, "thoughts_per_step": 4, "samples": 4, "max_new_tokens": 8, "eval_every": 2,
        "eval_thoughts": 32, "save_every": 1, "distractors": 3,
    },
    "train": {"out": "runs/mine/train"},
}  # fmt: skip
REWARD = "def short(batch):\n    return [-0.1 * len(text) for text in batch.texts]\n"
BROKEN = "def short(batch):\n    raise ZeroDivisionError('on purpose')\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def running(home: Path) -> Iterator[Head]:
    with head(home) as made:
        yield made


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is submitted: a recipe, a reward and the reasoner."""
    folder = tmp_path_factory.mktemp("shipped")
    make_sharp_reasoner(hidden=64).save_pretrained(folder / "reasoner")
    (folder / "mine.yaml").write_text(yaml.safe_dump(RECIPE))
    (folder / "rewards").mkdir()
    (folder / "rewards/mine.py").write_text(REWARD)
    return folder


def status(running: Head, job: str) -> JobStatus:
    token = Path(running.environment["RAY_AUTH_TOKEN_PATH"]).read_text()
    header = {"Authorization": f"Bearer {token}"}
    found = requests.get(f"{running.cluster.server}/api/jobs/{job}", headers=header, timeout=30)
    return JobStatus(found.json()["status"])


def of_jobs(running: Head) -> list[str]:
    """Command lines of what is a job's: its entrypoint, its actors and the one that runs it."""
    actors = ("ray::RolloutActor", "ray::RewardActor", "ray::JobSupervisor")
    lines = [" ".join(process.cmdline()) for process in running.processes()]
    return [line for line in lines if "reverse_codi.train" in line or line.startswith(actors)]


def gone(running: Head, seconds: float = 30) -> bool:
    """Whether nothing of a job is left in time."""
    deadline = time.monotonic() + seconds
    while of_jobs(running) and time.monotonic() < deadline:
        time.sleep(0.5)
    return not of_jobs(running)


def test_a_recipe_runs_to_its_end_and_what_it_wrote_stays(running: Head, shipped: Path, home: Path) -> None:
    done = running.submit(shipped, *TRAIN)
    assert done.returncode == 0, done.stdout
    out = home / "reverse_codi/runs/mine/train"
    assert f"train.out = runs/mine/train goes to {out}" in done.stdout
    assert f"{out}/verbalizer\n" in done.stdout
    steps = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in steps if "loss" in line] == [1, 2]
    texts = (out / "completions.jsonl").read_text().splitlines()
    assert texts and all("reward/short" in json.loads(line) for line in texts)
    reasoner = CodiReasoner.from_pretrained(shipped / "reasoner")
    Policy.load(out / "verbalizer", reasoner)
    assert (home / "reverse_codi/runs/mine/traces/manifest.json").is_file()
    assert gone(running)
    # A second job goes on where the first ended.
    again = running.submit(shipped, *TRAIN, "--resume", "--grpo.steps", "3")
    assert again.returncode == 0, again.stdout
    steps = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in steps if "loss" in line] == [1, 2, 3]


def test_a_failing_reward_is_a_failed_job_with_its_error_in_the_log(
    running: Head, shipped: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(shipped, tmp_path / "broken")
    (copy / "rewards/mine.py").write_text(BROKEN)
    elsewhere = ("--train.out", str(tmp_path / "out"), "--trace.out", str(tmp_path / "traces"))
    done = running.submit(copy, *TRAIN, *elsewhere)
    assert done.returncode == 1
    assert "on purpose" in done.stdout and "rewards/mine.py:2" in done.stdout
    assert "failed with exit code" in done.stdout
    assert not (tmp_path / "out/verbalizer").exists()
    assert gone(running)


def test_too_few_cpus_fail_a_job_before_any_work(running: Head, shipped: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    done = running.submit(shipped, *TRAIN, "--rollout.cpus", "8", "--train.out", out)
    assert done.returncode == 1
    assert "Ray offers 2: lower rollout.cpus to 1.6" in done.stdout
    assert "Traceback" not in done.stdout and not Path(out).exists()


def test_a_stopped_job_is_stopped_and_leaves_nothing_running(
    running: Head, shipped: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ("--train.out", str(out), "--trace.out", str(tmp_path / "traces"), "--grpo.steps", "10000")
    job = "to-be-stopped"
    submitted = running.submit(shipped, *TRAIN, *words, name=job)
    assert submitted.returncode == 0, submitted.stderr
    deadline = time.monotonic() + 400
    while not list((out / "grpo").glob("checkpoint-*")) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert status(running, job) is JobStatus.RUNNING
    stopped = running.run(RAY, "job", "stop", job)
    assert stopped.returncode == 0, stopped.stderr
    assert status(running, job) is JobStatus.STOPPED
    assert gone(running)
    assert list((out / "grpo").glob("checkpoint-*"))


def test_the_package_itself_may_be_shipped(running: Head, shipped: Path, tmp_path: Path) -> None:
    """Where a cluster has the libraries and not this package: `py_modules`."""
    root = Path(__file__).parents[2]
    modules = {"py_modules": [str(root / "reverse_codi"), str(root / "reward")]}
    look = "import reverse_codi, reward; print('found', reverse_codi.__file__, reward.__file__)"
    done = running.submit(shipped, "python", "-c", look, runtime_env=modules)
    assert done.returncode == 0, done.stdout
    line = next(line for line in done.stdout.splitlines() if line.startswith("found"))
    assert line.count("py_modules_files") == 2
