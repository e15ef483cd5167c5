"""Kill a process at each of its writes in turn, and see what is left: `python -m tests.kills CASE FOLDER`.

A child is forked for every write, and killed (SIGKILL) as it is about to make it: to open a file for writing,
rename, remove, cut, or make a folder. What C++ and Rust libraries write lies between two of these.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from reverse_codi.reading.metric import MAPS_FILE, ThoughtMetric
from reverse_codi.storage import folders
from reverse_codi.storage.files import write_whole
from reverse_codi.storage.folders import restore_former, whole_folder
from reverse_codi.tasks.arithmetic import Arithmetic
from reverse_codi.tasks.base import Split
from reverse_codi.traces.collect import TraceRequest, collect
from reverse_codi.traces.store import TraceStore
from reverse_codi.trainers.checkpoints import POLICY_WEIGHTS, damages, newest_whole, set_aside
from reverse_codi.training.records import BEST, best_worth, keep_best
from reverse_codi.verbalize.policy import Policy
from tests.short_grpo import train
from tests.tiny import make_tiny_metric, make_tiny_policy, make_tiny_reasoner, stir

WRITES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate"}


@dataclass(frozen=True)
class Case:
    """What is killed.

    Attributes:
        before: makes what is there before.
        work: what the child does.
        check: whether what a kill left is whole; raises if not. Gets the number of the write.
        every: only each so-manieth write, where there are many of one kind.
    """

    before: Callable[[Path], object]
    work: Callable[[Path], object]
    check: Callable[[Path, int], object]
    every: int = 1


def writes_of(case: Case, folder: Path) -> int:
    """Run a case with a kill at each write; returns how many writes there were.

    Raises:
        AssertionError: a kill left something that is not whole; names the write.
    """
    start = folder / "before"
    start.mkdir(parents=True)
    assert in_child(lambda: case.before(start)) == 0, "what is there before could not be made"
    for number in itertools.count(1):
        if (number - 1) % case.every and number > case.every:
            continue
        root = folder / "run"
        shutil.copytree(start, root)
        said = killed_at(number, root, partial(case.work, root))
        # In a child too: what a check changes in this process would reach the next kill.
        if (code := in_child(partial(case.check, root, number))) != 0:
            raise AssertionError(f"write {number} ({said}): what a kill there left is not whole ({code})")
        shutil.rmtree(root)
        if not said:
            return number - 1
    raise AssertionError("unreachable")


def killed_at(number: int, root: Path, work: Callable[[], object]) -> str:
    """Fork, work, and die at a write below `root`; returns what it was, "" if there were fewer."""
    note = root.with_name("write.txt")
    note.unlink(missing_ok=True)

    def child() -> None:
        count = itertools.count(1)

        def die_at_write(event: str, arguments: tuple[Any, ...]) -> None:
            if is_write(event, arguments, str(root)) and next(count) == number:
                os.write(told, f"{event} {arguments[0]}".encode())
                os.kill(os.getpid(), signal.SIGKILL)

        told = os.open(note, os.O_WRONLY | os.O_CREAT)
        sys.addaudithook(die_at_write)
        work()

    code = in_child(child)
    assert code in (0, -signal.SIGKILL), f"the work itself failed ({code})"
    return note.read_text() if code else ""


def is_write(event: str, arguments: tuple[Any, ...], root: str) -> bool:
    """Whether an audit event is a write below `root`."""
    if event == "ctypes.dlsym":
        return arguments[1] == "renameat2"  # is called next
    if event == "open":
        flags = arguments[2] or 0
        return str(arguments[0]).startswith(root) and bool(flags & (os.O_WRONLY | os.O_RDWR))
    # Of what lies in a folder that is given by its open file, only the name is told.
    return event in WRITES and (str(arguments[0]).startswith(root) or not str(arguments[0]).startswith("/"))


def in_child(work: Callable[[], object]) -> int:
    """Do something in a forked process; returns its exit status, negative for a signal."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# ---- cases

REASONER = make_tiny_reasoner()


def policy_of(seed: int) -> Policy:
    """A policy that differs from those of other seeds."""
    policy = make_tiny_policy(REASONER)
    stir(policy, seed)
    return policy


def one_file(root: Path, word: str) -> None:
    """A file."""
    write_whole(root / "a.json", word)


def read_file(root: Path, number: int) -> None:
    """Old or new."""
    assert (root / "a.json").read_text() in ("old", "new")


def two_files(root: Path, word: str) -> None:
    """A folder whose files belong together."""
    with whole_folder(root / "best") as temporary:
        for name in ("a", "b"):
            write_whole(temporary / name, word)


def read_folder(root: Path, number: int) -> None:
    """Both files old, or both new."""
    assert (root / "best/a").read_text() == (root / "best/b").read_text()
    assert sorted(path.name for path in (root / "best").iterdir()) == ["a", "b"]


def without_exchange(root: Path) -> None:
    """As on a file system that cannot exchange two folders."""
    folders._exchange = lambda one, other: False
    two_files(root, "new")


def read_restored(root: Path, number: int) -> None:
    """As `read_folder`, once the next run has begun."""
    restore_former(root / "best")
    read_folder(root, number)


def best_of(seed: int) -> Callable[[Path], None]:
    """Keeps the policy of a seed, whose worth is the seed."""
    return lambda root: keep_best(root, policy_of(seed), {"step": seed, "worth": float(seed)})


def read_best(root: Path, number: int) -> None:
    """A policy with its own worth."""
    worth = best_worth(root)
    assert worth in (1.0, 2.0), worth
    found = dict(Policy.load(root / BEST, REASONER).model.named_parameters())
    for name, weight in policy_of(int(worth)).model.named_parameters():
        if "lora_" in name:
            assert torch.equal(found[name], weight), name


def save_maps(root: Path) -> None:
    """Maps into an empty folder."""
    make_tiny_metric(REASONER, n=32).save(root / "reading")


def read_maps(root: Path, number: int) -> None:
    """None yet, or all."""
    if (root / "reading" / MAPS_FILE).is_file():
        ThoughtMetric.load(root / "reading", REASONER)


def three_shards(root: Path) -> TraceStore:
    """A store of traces, from where it was left."""
    asked = TraceRequest(split=Split.TRAIN, n=6, seed=0, out=root / "traces", shard_rows=2)
    return collect(REASONER, Arithmetic(), asked)


def read_traces(root: Path, number: int) -> None:
    """A store of some shards, which is gone on with to the end."""
    if (root / "traces/manifest.json").is_file():
        TraceStore.open(root / "traces", REASONER)
    assert len(three_shards(root)) == 6


STEPS = 3
TRAINING: dict[str, Any] = {"steps": STEPS, "save_every": 1, "eval_every": 1, "keep": "last", "seed": 5}


def begin(root: Path) -> None:
    """Two steps of a run of three."""
    train(REASONER, root, **{**TRAINING, "steps": 2, "schedule": "constant"})


def go_on(root: Path) -> None:
    """The rest of it, as a resumed run does."""
    found = newest_whole(root / "grpo", POLICY_WEIGHTS)
    set_aside(found, print)
    train(REASONER, root, found.folder, **{**TRAINING, "schedule": "constant"})


def read_run(root: Path, number: int) -> None:
    """At least the second checkpoint is whole, and the run ends where one that nobody killed does."""
    found = newest_whole(root / "grpo", POLICY_WEIGHTS)
    assert found.folder is not None and found.passed == {}, found
    assert int(found.folder.rpartition("-")[2]) in (2, 3)
    for folder in (root / "grpo").glob("checkpoint-*"):
        assert damages(folder, POLICY_WEIGHTS) == []
    if found.folder.endswith("-2"):
        go_on(root)
    assert best_worth(root) == STEPS
    ended = load_file(root / f"grpo/checkpoint-{STEPS}" / POLICY_WEIGHTS)
    wanted = load_file(root.with_name("wanted") / f"grpo/checkpoint-{STEPS}" / POLICY_WEIGHTS)
    assert all(torch.equal(ended[name], value) for name, value in wanted.items())


def with_wanted(root: Path) -> None:
    """What is there before, and beside it the run that nobody kills."""
    begin(root)
    shutil.copytree(root, root.with_name("wanted"))
    go_on(root.with_name("wanted"))


CASES = {
    "file": Case(
        lambda root: write_whole(root / "a.json", "old"),
        lambda root: write_whole(root / "a.json", "new"),
        read_file,
    ),
    "folder": Case(lambda root: two_files(root, "old"), lambda root: two_files(root, "new"), read_folder),
    "folder-without-exchange": Case(lambda root: two_files(root, "old"), without_exchange, read_restored),
    "best": Case(best_of(1), best_of(2), read_best),
    "maps": Case(lambda root: None, save_maps, read_maps),
    "traces": Case(lambda root: None, three_shards, read_traces),
    "training": Case(with_wanted, go_on, read_run, every=4),
}


def named(words: list[str]) -> Iterator[tuple[str, Case]]:
    """The cases asked for."""
    yield from ((word, CASES[word]) for word in words)


if __name__ == "__main__":
    *asked, where = sys.argv[1:]
    for name, case in named(asked):
        print(name, writes_of(case, Path(where) / name), flush=True)
