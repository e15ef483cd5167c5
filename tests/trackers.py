"""What W&B, TensorBoard and trackio have written, read back from their files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2 as proto

BLOCK = 32_768


@dataclass
class WandbFile:
    """One `.wandb` file: a run as one process wrote it."""

    id: str = ""
    group: str = ""
    job: str = ""
    project: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    artifacts: dict[str, list[str]] = field(default_factory=dict)
    exit_code: int | None = None

    def points(self, name: str, axis: str = "train/global_step") -> list[tuple[int, Any]]:
        """Steps and values of one figure."""
        return [(row[axis], row[name]) for row in self.history if name in row]


def wandb_files(folder: Path) -> list[WandbFile]:
    """All runs that were kept offline below a folder, in the order they began in."""
    files = sorted(folder.glob("offline-run-*/*.wandb"), key=lambda file: file.stat().st_ctime_ns)
    return [_wandb_file(file.read_bytes()) for file in files]


def _wandb_file(data: bytes) -> WandbFile:
    found = WandbFile()
    for record in _records(data):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            found.id, found.group, found.job, found.project = (
                run.run_id, run.run_group, run.job_type, run.project,
            )  # fmt: skip
            found.config |= _items(run.config.update)
        elif kind == "config":
            found.config |= _items(record.config.update)
        elif kind == "history":
            found.history.append(_items(record.history.item))
        elif kind == "artifact":
            found.artifacts[record.artifact.type] = sorted(
                entry.path for entry in record.artifact.manifest.contents
            )
        elif kind == "exit":
            found.exit_code = record.exit.exit_code
    return found


def _items(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def _records(data: bytes) -> Iterator[Any]:
    """LevelDB's log format: after a header blocks of 32 KiB; a record may be cut into parts."""
    place, parts = 7, b""
    while place + 7 <= len(data):
        if BLOCK - place % BLOCK < 7:  # no room for another part's header
            place += BLOCK - place % BLOCK
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or its last part
            yield proto.Record.FromString(parts)
            parts = b""


def scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    """Steps and values of one figure in TensorBoard."""
    return [(event.step, event.value) for event in _events(folder).Scalars(name)]


def texts(folder: Path, name: str) -> list[tuple[int, str]]:
    """Steps and texts under one name in TensorBoard."""
    found = _events(folder).Tensors(f"{name}/text_summary")
    return [(event.step, event.tensor_proto.string_val[0].decode()) for event in found]


def _events(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()


def tracked_by_trackio(project: str, name: str) -> list[dict[str, Any]]:
    """The rows of a run in trackio's database."""
    from trackio.sqlite_storage import SQLiteStorage

    return SQLiteStorage.get_logs(project, name)
