from __future__ import annotations

import doctest
from pathlib import Path

import pytest

from reverse_codi.storage import job
from reverse_codi.storage.job import RESULTS, in_working_copy, is_url, lasting, lasting_folder
from reverse_codi.storage.outputs import OutputError, check_file, check_folder


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory as Ray gives it to a job, and a home."""
    folder = tmp_path / "session/runtime_resources/working_dir_files/_ray_pkg_1"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv(RESULTS, raising=False)
    return folder


def test_examples() -> None:
    assert doctest.testmod(job).attempted and not doctest.testmod(job).failed


@pytest.mark.parametrize("place", ["s3://b/run", "s3:/b/run", "memory://x", "cache::s3://b/x", "hf://a/b"])
def test_urls_are_told_from_paths(place: str) -> None:
    assert is_url(place)


@pytest.mark.parametrize("place", ["runs/tiny", "/data/run", "C:/data", "a:b", "./mine.py:f", ""])
def test_paths_are_no_urls(place: str) -> None:
    assert not is_url(place)


def test_outside_a_job_outputs_go_where_they_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(RESULTS, "/elsewhere")
    assert lasting("runs/tiny") == "runs/tiny"
    assert lasting("file:///data/run") == "/data/run"
    assert not in_working_copy("runs/tiny")


def test_a_relative_place_of_a_job_goes_below_a_folder_that_stays(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lasting("runs/tiny/train") == str(tmp_path / "home/reverse_codi/runs/tiny/train")
    assert lasting("./runs//tiny/") == str(tmp_path / "home/reverse_codi/runs/tiny")
    for stays in ("/data/run", "s3://bucket/run", "../beside"):
        assert lasting(stays) == stays
    monkeypatch.setenv(RESULTS, "s3://bucket/results/")
    assert lasting("runs/tiny") == "s3://bucket/results/runs/tiny"
    assert lasting_folder("runs/reasoners") == Path("runs/reasoners")
    monkeypatch.setenv(RESULTS, "file:///data/results")
    assert lasting("runs/tiny") == "/data/results/runs/tiny"
    assert lasting_folder("runs/reasoners") == Path("/data/results/runs/reasoners")


@pytest.mark.parametrize("out", ["runs/x", "../x", "{copy}/x"])
def test_no_verb_writes_into_a_copy_that_ray_deletes(copy: Path, out: str) -> None:
    out = out.format(copy=copy)
    with pytest.raises(OutputError, match=r"--out = .* lies in this job's copy of the working directory"):
        check_folder(out, "--out")
    with pytest.raises(OutputError, match="lies in this job's copy"):
        check_file(f"{out}/demo.json", (".json",))


def test_a_url_is_refused_where_only_a_folder_will_do() -> None:
    for out in ("s3://bucket/x", Path("s3://bucket/x")):
        with pytest.raises(OutputError, match=r"--out = s3:/+bucket/x is a URL, which train\.out, .* alone"):
            check_folder(out, "--out")
