from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import fsspec
import pytest

from reverse_codi.errors import RecipeError
from reverse_codi.recipe.schema import Recipe
from reverse_codi.storage.job import JOB, RESULTS
from reverse_codi.storage.mirror import MirrorError
from reverse_codi.training import outputs
from reverse_codi.training.outputs import OUTPUTS, TRACE, TRAIN, check_shipped, keeping, kept, settled


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv(RESULTS, raising=False)
    return tmp_path / "home"


@pytest.fixture
def job(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working copy of a Ray job that this process plays."""
    copy = tmp_path / "working_dir_files/_ray_pkg_1"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    monkeypatch.setenv(JOB, "{}")
    return copy


def made(**sections: Any) -> Recipe:
    return Recipe.model_validate(sections)


def test_examples() -> None:
    assert doctest.testmod(outputs).attempted and not doctest.testmod(outputs).failed


def test_paths_stay_as_they_are(home: Path) -> None:
    recipe = made(train={"out": "runs/a"}, trace={"out": "/data/traces"})
    assert settled(recipe, *OUTPUTS) == (recipe, [])
    files = made(train={"out": "file:///data/a"})
    assert settled(files, TRAIN)[0].train.out == "/data/a"


def test_the_relative_outputs_of_a_job_go_home(
    job: Path, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    recipe, mirrors = settled(Recipe.load("tiny"), TRACE, TRAIN)
    assert mirrors == []
    assert recipe.train.out == f"{home}/reverse_codi/runs/tiny/train"
    assert recipe.trace.out == f"{home}/reverse_codi/runs/tiny/traces"
    assert f"train.out = runs/tiny/train goes to {home}/reverse_codi/runs/tiny/train" in caplog.text
    assert settled(recipe, TRACE, TRAIN)[0] == recipe


def test_a_job_finds_the_reasoner_that_an_earlier_one_made(job: Path, home: Path) -> None:
    sections: dict[str, Any] = {"distill": {"out": "runs/r"}, "reasoner": {"path": "runs/r"}}
    left = home / "reverse_codi/runs/r"
    assert settled(made(**sections), TRAIN)[0].reasoner.path == "runs/r"
    assert settled(made(**sections), *OUTPUTS)[0].reasoner.path == str(left)  # it will be made there
    left.mkdir(parents=True)
    assert settled(made(**sections), TRAIN)[0].reasoner.path == str(left)
    (job / "runs/r").mkdir(parents=True)  # one that was submitted comes first
    assert settled(made(**sections), TRAIN)[0].reasoner.path == "runs/r"


def test_a_url_has_a_folder_here_and_the_same_each_time(home: Path) -> None:
    recipe = made(train={"out": "memory://b/run/"}, trace={"out": "memory://b/traces"})
    first, mirrors = settled(recipe, TRACE, TRAIN)
    assert [mirror.url for mirror in mirrors] == [
        "memory://b/traces", "memory://b/traces-heldout", "memory://b/run",
    ]  # fmt: skip
    assert [str(mirror.folder) for mirror in mirrors] == [
        first.trace.out, f"{first.trace.out}-heldout", first.train.out,
    ]  # fmt: skip
    assert Path(first.train.out).is_relative_to(home) and Path(first.train.out).name.startswith("run-")
    assert settled(recipe, TRACE, TRAIN)[0] == first
    assert not home.exists()  # nothing is made yet
    only, mirrors = settled(recipe, TRACE)
    assert only.train.out == "memory://b/run/" and len(mirrors) == 2


def test_all_results_of_a_job_may_go_to_a_url(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RESULTS, "memory://b/results")
    _, mirrors = settled(made(train={"out": "runs/x"}, trace={"out": "/data/traces"}), TRACE, TRAIN)
    assert [mirror.url for mirror in mirrors] == ["memory://b/results/runs/x"]


def test_what_a_url_needs_is_said_before_any_work(home: Path) -> None:
    with pytest.raises(MirrorError, match=r"train\.out = nope://b/run cannot be opened: Protocol not known"):
        settled(made(train={"out": "nope://b/run"}), TRAIN)


def test_what_a_function_writes_is_at_the_url_afterwards(home: Path) -> None:
    @keeping(TRAIN)
    def work(recipe: Recipe, text: str) -> str:
        Path(recipe.train.out).mkdir(parents=True, exist_ok=True)
        Path(recipe.train.out, "metrics.jsonl").write_text(text)
        return recipe.train.out

    recipe = made(train={"out": "memory://b/kept"})
    folder = work(recipe, "1\n")
    assert fsspec.filesystem("memory").cat_file("/b/kept/metrics.jsonl") == b"1\n"
    Path(folder, "metrics.jsonl").unlink()
    with kept(recipe, TRAIN) as again:
        assert Path(again.train.out, "metrics.jsonl").read_text() == "1\n"


ELSEWHERE: dict[str, dict[str, Any]] = {
    "reasoner.path": {"reasoner": {"path": "/home/me/reasoner"}},
    "reasoner.base": {"reasoner": {"base": "~/gpt2"}},
    "task.path": {"task": {"name": "gsm8k", "path": "../data/gsm8k.jsonl"}},
    "reward.functions.0.name": {"reward": {"functions": [{"name": "/home/me/mine.py:good"}]}},
    "reward.functions.0.options.folder": {
        "reward": {"functions": [{"name": "reconstruction", "options": {"folder": "/home/me/r"}}]}
    },
}


@pytest.mark.parametrize("key", list(ELSEWHERE))
def test_a_path_of_the_submitters_machine_is_named(key: str, job: Path) -> None:
    with pytest.raises(RecipeError, match=rf"not on the machine that runs this job: {key} = .*--working-dir"):
        check_shipped(made(**ELSEWHERE[key]))


def test_all_of_them_are_named_at_once(job: Path) -> None:
    with pytest.raises(RecipeError, match=r"reasoner\.path = /no/a; distill\.base = /no/b\. Put"):
        settled(made(reasoner={"path": "/no/a"}, distill={"base": "/no/b"}), TRAIN)


def test_what_was_submitted_or_is_to_be_made_is_no_such_path(job: Path, tmp_path: Path) -> None:
    (job / "mine.py").touch()
    shipped = made(
        reasoner={"path": "zen-E/CODI-gpt2", "question_format": "/ask {question}", "converted": "/no/cache"},
        reward={"functions": [{"name": "./mine.py:good"}, {"name": f"{job}/mine.py:good"}]},
        train={"out": "/not/there/yet"},
        trace={"out": str(tmp_path)},
    )
    check_shipped(shipped)


def test_outside_a_job_a_path_is_checked_where_it_is_used(home: Path) -> None:
    for sections in ELSEWHERE.values():
        check_shipped(made(**sections))
