from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import fsspec
import pytest

from reverse_codi.storage.mirror import COMMITTED, INCOMING, INDEX, Mirror, MirrorError
from reverse_codi.storage.mirrors import mirrored, push_all

URL = "memory://bucket/run"


@pytest.fixture(autouse=True)
def empty_memory() -> None:
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


def remote() -> dict[str, bytes]:
    """What the URL holds, but for what the mirror itself keeps there."""
    fs = fsspec.filesystem("memory")
    found = {name.removeprefix("/bucket/run/"): fs.cat_file(name) for name in fs.find("/bucket/run")}
    return {name: data for name, data in found.items() if name not in (INDEX, COMMITTED)}


def local(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def put(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def opened(folder: Path) -> Mirror:
    mirror = Mirror("train.out", URL, folder)
    mirror.pull()
    return mirror


def test_files_come_back_on_another_machine(tmp_path: Path) -> None:
    here = opened(tmp_path / "a")
    put(tmp_path / "a", metrics="1\n", grpo__checkpoint_1__state="one", policies__v1="live", half_tmp="x")
    (tmp_path / "a/half_tmp").rename(tmp_path / "a/half.123.tmp")
    assert here.push() == 2
    assert remote() == {"metrics": b"1\n", "grpo/checkpoint_1/state": b"one"}
    other = opened(tmp_path / "b")
    assert local(tmp_path / "b") == remote()
    assert other.push() == 0


def test_a_push_sends_what_changed_and_removes_what_went(tmp_path: Path) -> None:
    mirror = opened(tmp_path)
    put(tmp_path, metrics="1\n", grpo__checkpoint_1="one", best="a")
    mirror.push()
    put(tmp_path, metrics="1\n2\n", grpo__checkpoint_2="two")
    (tmp_path / "grpo/checkpoint_1").unlink()
    assert mirror.push() == 2
    assert remote() == {"metrics": b"1\n2\n", "grpo/checkpoint_2": b"two", "best": b"a"}
    assert mirror.push() == 0


def test_a_pull_makes_the_folder_what_the_url_holds(tmp_path: Path) -> None:
    put(tmp_path / "a", metrics="1\n", best="a")
    mirror = Mirror("train.out", URL, tmp_path / "a")
    assert mirror.pull() == 0 and local(tmp_path / "a") == {}  # of a run that never pushed
    put(tmp_path / "a", metrics="1\n", best="a")
    mirror.push()
    put(tmp_path / "a", metrics="1\n2\n", grpo__checkpoint_9="never pushed")
    again = Mirror("train.out", URL, tmp_path / "a")
    assert again.pull() == 1  # `best` is as it was
    assert local(tmp_path / "a") == remote() and not (tmp_path / "a/grpo").exists()


class Killed(BaseException):
    """Ends a push as a kill would."""


@pytest.mark.parametrize("operation", ["_send", "_write", "mv", "rm"])
@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_push_that_is_killed_leaves_the_last_one_or_itself_whole(
    operation: str, times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = opened(tmp_path / "a")
    put(tmp_path / "a", metrics="1\n", best="a", old="x")
    mirror.push()
    before = remote()
    put(tmp_path / "a", metrics="1\n2\n", best="b", new="y")
    (tmp_path / "a/old").unlink()
    after = {"metrics": b"1\n2\n", "best": b"b", "new": b"y"}
    target: Any = mirror if operation.startswith("_") else mirror._fs
    whole, done = getattr(target, operation), 0

    def killed(*args: Any, **kwargs: Any) -> Any:
        nonlocal done
        if done == times:
            raise Killed
        done += 1
        return whole(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(target, operation, killed)
        with pytest.raises(Killed):
            mirror.push()
            raise Killed  # fewer of these operations than `times`: the push was whole
    opened(tmp_path / "b")
    assert local(tmp_path / "b") in (before, after)
    assert not any(name.startswith(INCOMING) for name in remote())
    if operation in ("mv", "rm"):  # it was whole before the first of them
        assert local(tmp_path / "b") == after


def test_two_runs_do_not_write_to_one_url(tmp_path: Path) -> None:
    first, second = opened(tmp_path / "a"), opened(tmp_path / "b")
    put(tmp_path / "a", metrics="a")
    put(tmp_path / "b", metrics="b")
    first.push()
    with pytest.raises(MirrorError, match=r"train\.out = memory://.* was written by another run meanwhile"):
        second.push()
    assert remote() == {"metrics": b"a"}


def test_a_place_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    fsspec.filesystem("memory").pipe_file("/bucket/run/thesis.tex", b"years of work")
    with pytest.raises(MirrorError, match="holds files, but no run"):
        opened(tmp_path)
    assert remote() == {"thesis.tex": b"years of work"}


def test_a_file_that_was_changed_there_is_named(tmp_path: Path) -> None:
    mirror = opened(tmp_path / "a")
    put(tmp_path / "a", best="weights")
    mirror.push()
    fsspec.filesystem("memory").pipe_file("/bucket/run/best", b"weighty")
    with pytest.raises(MirrorError, match=r"memory://bucket/run/best is not the file that \.mirror\.json"):
        opened(tmp_path / "b")
    assert local(tmp_path / "b") == {}


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", ""])
def test_an_index_does_not_lead_out_of_the_folder(name: str, tmp_path: Path) -> None:
    index = {"writer": "", "files": {name: {"size": 1, "sha256": "0"}}}
    fsspec.filesystem("memory").pipe_file(f"/bucket/run/{INDEX}", json.dumps(index).encode())
    with pytest.raises(MirrorError, match="leads out of the folder"):
        opened(tmp_path / "a")


def test_an_index_that_is_cut_is_named(tmp_path: Path) -> None:
    fsspec.filesystem("memory").pipe_file(f"/bucket/run/{INDEX}", b'{"writer": ')
    with pytest.raises(MirrorError, match=r"\.mirror\.json is no JSON"):
        opened(tmp_path)


def test_what_fsspec_cannot_open_is_said_with_the_key(tmp_path: Path) -> None:
    with pytest.raises(MirrorError, match=r"train\.out = nowhere://x cannot be opened: Protocol not known"):
        Mirror("train.out", "nowhere://x", tmp_path)
    secret = "ftp://me:hunter2@host.invalid/run"
    with pytest.raises(MirrorError) as refused:
        Mirror("train.out", secret, tmp_path).pull()
    assert "hunter2" not in str(refused.value) and "host.invalid/run" in str(refused.value)


def test_a_block_that_fails_is_pushed_too_and_its_error_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    mirror = Mirror("train.out", URL, tmp_path)
    with pytest.raises(KeyError), mirrored([mirror]):
        put(tmp_path, metrics="1\n")
        push_all()
        assert remote() == {"metrics": b"1\n"}
        put(tmp_path, metrics="1\n2\n")
        raise KeyError
    assert remote() == {"metrics": b"1\n2\n"}
    put(tmp_path, metrics="3\n")
    push_all()  # nothing is mirrored any more
    assert remote() == {"metrics": b"1\n2\n"}


def test_a_url_that_cannot_be_written_for_a_while_is_a_warning_and_at_the_end_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mirror = Mirror("train.out", URL, tmp_path)

    def refused(*_: Any, **__: Any) -> None:
        raise OSError("no space\nleft")

    problem = r"train\.out = memory://bucket/run cannot be written: no space"
    with pytest.raises(MirrorError, match=problem), mirrored([mirror]):
        put(tmp_path, metrics="1\n")
        monkeypatch.setattr(mirror._fs, "pipe_file", refused)
        push_all()
        assert "cannot be written" in caplog.text and str(tmp_path) in caplog.text
    monkeypatch.undo()
    assert local(tmp_path) == {"metrics": b"1\n"}
