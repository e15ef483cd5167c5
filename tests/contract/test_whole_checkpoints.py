"""What `WholeCheckpoints` leans on in transformers and TRL: who writes a checkpoint, and where."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer
from trl import GRPOTrainer, SFTTrainer
from trl.trainer.base_trainer import _BaseTrainer

from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.storage.disk import DiskError
from reverse_codi.storage.manifest import MANIFEST, read_manifest
from reverse_codi.trainers.checkpoints import POLICY_WEIGHTS, newest_whole
from reverse_codi.trainers.whole_checkpoints import WholeCheckpoints
from tests.short_grpo import train


def names(out: Path) -> list[str]:
    return sorted(path.name for path in (out / "grpo").iterdir() if path.is_dir())


def test_the_trainers_have_the_methods_that_are_overridden() -> None:
    for trainer in (Trainer, GRPOTrainer, SFTTrainer):
        assert {"_save_checkpoint", "_get_output_dir"} <= set(dir(trainer))
    assert issubclass(GRPOTrainer, _BaseTrainer) and issubclass(SFTTrainer, _BaseTrainer)
    assert "_send_telemetry" in vars(_BaseTrainer) and "_send_telemetry" in vars(WholeCheckpoints)


def test_every_file_of_a_checkpoint_is_listed_and_older_ones_go(
    tiny_reasoner: CodiReasoner, tmp_path: Path
) -> None:
    train(tiny_reasoner, tmp_path, steps=3, save_every=1)
    assert names(tmp_path) == ["checkpoint-2", "checkpoint-3"]  # `writing` is gone
    listed = set(read_manifest(tmp_path / "grpo/checkpoint-3").files)
    assert {
        "adapter_model.safetensors", "adapter_config.json", "optimizer.pt", "scheduler.pt", "rng_state.pth",
        "trainer_state.json", "ref/adapter_model.safetensors",
    } <= listed  # fmt: skip
    there = (tmp_path / "grpo/checkpoint-3").rglob("*")
    files = {path.relative_to(tmp_path / "grpo/checkpoint-3").as_posix() for path in there if path.is_file()}
    assert {name for name in files if not name.endswith("README.md")} == listed | {MANIFEST}
    assert read_manifest(tmp_path / "best").files.keys() >= {"adapter_model.safetensors", "verbalizer.json"}


@pytest.mark.parametrize("full_at", ["optimizer.pt", "scheduler.pt", "trainer_state.json", MANIFEST])
def test_a_disk_that_fills_while_a_checkpoint_is_written_costs_that_one(
    tiny_reasoner: CodiReasoner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full_at: str
) -> None:
    """As libraries see it: torch's writer says nothing of the reason, the others give the system's number."""
    room = [1]

    def full(path: Any) -> bool:
        name = str(path)
        return "checkpoint-2" in name and f"/{full_at}" in name and room.pop() == 1 if room else False

    save, opened = torch.save, open

    def torch_save(value: Any, path: Any, *args: Any, **kwargs: Any) -> None:
        if full(path):
            Path(path).write_bytes(b"half")
            raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")
        save(value, path, *args, **kwargs)

    def open_full(path: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if "w" in mode and full(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return opened(path, mode, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", torch_save)
        patch.setattr("builtins.open", open_full)
        patch.setattr("io.open", open_full)
        with pytest.raises(DiskError, match=r"grpo/checkpoint-2 cannot be written: .*GiB are free.*--resume"):
            train(tiny_reasoner, tmp_path, steps=3, save_every=1)
    assert names(tmp_path) == ["checkpoint-1"]
    last = newest_whole(tmp_path / "grpo", POLICY_WEIGHTS).folder
    assert last == str(tmp_path / "grpo/checkpoint-1")
    train(tiny_reasoner, tmp_path, last, steps=3, save_every=1)
    assert names(tmp_path) == ["checkpoint-2", "checkpoint-3"]
