from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments, get_linear_schedule_with_warmup

from reverse_codi.storage.files import DamagedError
from reverse_codi.storage.manifest import MANIFEST, write_manifest
from reverse_codi.trainers.checkpoints import (
    POLICY_WEIGHTS,
    WEIGHTS,
    Checkpoint,
    checkpoint_to_resume,
    complete_checkpoints,
    last_complete_checkpoint,
    newest_whole,
    set_aside,
    take_rate,
)
from reverse_codi.trainers.finite_steps import StopAtNonFinite
from reverse_codi.utils.finite import NotFiniteError
from tests.damage import cut, flip


def make_checkpoint(
    out: Path, step: int, value: float = 1.0, weights: str = WEIGHTS, whole: bool = True
) -> str:
    """A checkpoint as version 0.1.0 left it; one that was cut has no state, which is written last."""
    folder = out / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    save_file({"a": torch.ones(2), "b": torch.tensor([value])}, folder / weights)
    for name in ("optimizer.pt", "scheduler.pt"):
        (folder / name).write_bytes(b"tensors")
    if whole:
        (folder / "trainer_state.json").write_text("{}")
    return str(folder)


def make_listed(out: Path, step: int, value: float = 1.0) -> Path:
    """A checkpoint with a manifest."""
    folder = Path(make_checkpoint(out, step, value))
    write_manifest(folder)
    return folder


def test_the_newest_whole_checkpoint_is_found(tmp_path: Path) -> None:
    assert last_complete_checkpoint(tmp_path / "nowhere") is None
    older = make_checkpoint(tmp_path, 20)
    newest = make_checkpoint(tmp_path, 100)
    make_checkpoint(tmp_path, 120, whole=False)  # cut: the state is written last
    (tmp_path / "checkpoint-140").mkdir()
    (tmp_path / "checkpoint-140/trainer_state.json").write_text("{}")
    assert complete_checkpoints(tmp_path) == [newest, older]  # 100 first, though "20" sorts after it
    assert last_complete_checkpoint(tmp_path) == newest
    adapter = make_checkpoint(tmp_path, 60, weights=POLICY_WEIGHTS)
    assert last_complete_checkpoint(tmp_path, POLICY_WEIGHTS) == adapter


def test_a_checkpoint_of_nan_is_passed_over_and_set_aside(tmp_path: Path) -> None:
    finite = make_checkpoint(tmp_path, 20)
    make_checkpoint(tmp_path, 40, float("nan"))
    make_checkpoint(tmp_path, 60, float("inf"))
    assert last_complete_checkpoint(tmp_path) == finite
    printed: list[str] = []
    set_aside(newest_whole(tmp_path), printed.append)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint-20",
        "not-finite-40",
        "not-finite-60",
    ]
    assert re.fullmatch(
        r".*checkpoint-60 holds weights that are not finite: renamed to not-finite-60", printed[0]
    )
    set_aside(newest_whole(tmp_path), printed.append)
    assert len(printed) == 2


@pytest.mark.parametrize("name", [WEIGHTS, "optimizer.pt", "scheduler.pt", "trainer_state.json", MANIFEST])
@pytest.mark.parametrize("harm", [Path.unlink, flip, cut, lambda file: file.write_bytes(b"")])
def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_is_taken(
    tmp_path: Path, name: str, harm: Callable[[Path], Any]
) -> None:
    older, newest = make_listed(tmp_path, 20), make_listed(tmp_path, 40)
    assert newest_whole(tmp_path) == Checkpoint(str(newest))
    harm(newest / name)
    found = newest_whole(tmp_path)
    if name == MANIFEST and harm is Path.unlink:  # as if of version 0.1.0
        assert (found.folder, found.checked) == (str(newest), False)
        return
    assert (found.folder, found.checked, found.damaged) == (str(older), True, {str(newest)})
    assert str(newest / name) in found.passed[str(newest)]
    said: list[str] = []
    set_aside(found, said.append)
    assert len(said) == 1 and str(newest / name) in said[0] and said[0].endswith(": renamed to damaged-40")
    assert complete_checkpoints(tmp_path) == [str(older)]


@pytest.mark.parametrize("name", [WEIGHTS, "optimizer.pt", "scheduler.pt", "trainer_state.json"])
def test_what_version_0_1_lost_is_found_too(tmp_path: Path, name: str) -> None:
    older, newest = make_checkpoint(tmp_path, 20), Path(make_checkpoint(tmp_path, 40))
    assert newest_whole(tmp_path) == Checkpoint(str(newest), checked=False)
    if name in (WEIGHTS, "trainer_state.json"):  # or it is one that was cut while it was written
        cut(newest / name)
    else:
        (newest / name).unlink()
    assert newest_whole(tmp_path).folder == older
    assert str(newest / name) in newest_whole(tmp_path).passed[str(newest)]


def test_where_every_checkpoint_is_damaged_nothing_begins_anew_in_silence(tmp_path: Path) -> None:
    assert checkpoint_to_resume(tmp_path, WEIGHTS, "x") == Checkpoint()
    only = make_listed(tmp_path, 20)
    (only / "optimizer.pt").unlink()
    message = f"no checkpoint to go on from: {only}/optimizer.pt is missing. Restore it from a copy, or move"
    with pytest.raises(DamagedError, match=message):
        checkpoint_to_resume(tmp_path, WEIGHTS, "move it away")


class Line(nn.Module):
    """y = a x; with `bad_gradient` the loss of the third batch is NaN."""

    def __init__(self, bad_gradient: bool) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.ones(1))
        self.bad_gradient = bad_gradient
        self.calls = 0

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        self.calls += 1
        loss = (self.a * x - labels).square().mean()
        if self.calls == 3 and self.bad_gradient:
            loss = loss * float("nan")
        return {"loss": loss}


def trainer(out: Path, model: Line, rate: float) -> Trainer:
    rows = [{"x": torch.tensor([float(i)]), "labels": torch.tensor([2.0 * i])} for i in range(1, 9)]
    arguments = TrainingArguments(
        output_dir=str(out),
        max_steps=5,
        per_device_train_batch_size=2,
        learning_rate=rate,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        save_steps=1,
        save_total_limit=2,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        optim="sgd",
    )
    stop = StopAtNonFinite("x.learning_rate", out)
    return Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[stop])


def test_a_gradient_of_nan_stops_before_the_step_and_sets_its_weights_aside(tmp_path: Path) -> None:
    model = Line(bad_gradient=True)
    with pytest.raises(NotFiniteError) as stopped:
        trainer(tmp_path, model, 1e-3).train()
    assert str(stopped.value) == (
        "the gradient of step 3 (of a) is not finite: the run stops and keeps nothing of it; the last to go "
        f"on from is {tmp_path / 'checkpoint-1'}. Lower x.learning_rate (now 0.001)"
    )
    assert bool(model.a.isfinite().all())
    # the weights of step 2 gave that gradient: the same batch would end any run from there
    assert sorted(p.name for p in tmp_path.glob("*-*")) == ["checkpoint-1", "not-finite-2"]


def test_a_step_to_infinity_is_not_saved_and_rotates_no_checkpoint_away(tmp_path: Path) -> None:
    with pytest.raises(
        NotFiniteError, match=r"step 3 left values in a that are not finite|gradient of step 3"
    ):
        trainer(tmp_path, Line(bad_gradient=False), 1e15).train()
    last = last_complete_checkpoint(tmp_path)
    assert last is not None
    assert bool(load_file(Path(last) / WEIGHTS)["a"].isfinite().all())


def test_without_checkpoints_the_message_says_so(tmp_path: Path) -> None:
    model = Line(bad_gradient=True)
    model.calls = 2
    with pytest.raises(
        NotFiniteError, match=r"gradient of step 1 .*; no checkpoint was saved before\. Lower"
    ):
        trainer(tmp_path, model, 1e-3).train()
    assert not list(tmp_path.glob("checkpoint-*"))


def test_outputs_may_hide_weights_of_nan() -> None:
    query, key = torch.full((1, 2, 5, 8), torch.nan), torch.randn(1, 2, 5, 8)
    read = nn.functional.scaled_dot_product_attention(query, key, key, is_causal=True)
    assert bool(read.isfinite().all()), "torch has changed: see StopAtNonFinite's docstring"


def test_a_loaded_optimizer_follows_the_rate_and_the_schedule_at_hand() -> None:
    def made(rate: float, total: int) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
        optimizer = torch.optim.AdamW([{"params": [nn.Parameter(torch.ones(1))]} for _ in range(2)], lr=rate)
        return optimizer, get_linear_schedule_with_warmup(optimizer, 0, total)

    optimizer, scheduler = made(1.0, 10)
    for _ in range(4):
        optimizer.step()
        scheduler.step()
    again, schedule = made(0.1, 8)
    again.load_state_dict(optimizer.state_dict())
    schedule.load_state_dict(scheduler.state_dict())
    assert again.param_groups[0]["lr"] == pytest.approx(0.6)  # the saved state's
    take_rate(again, schedule, 0.1)
    assert schedule.get_last_lr() == [pytest.approx(0.05)] * 2  # half of 8 steps are done
    again.step()
    schedule.step()
    assert [group["lr"] for group in again.param_groups] == [pytest.approx(0.1 * 3 / 8)] * 2
