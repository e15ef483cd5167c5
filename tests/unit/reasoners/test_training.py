from __future__ import annotations

from pathlib import Path

import torch

from reverse_codi.reasoners.distill_data import Collator, ProblemRows
from reverse_codi.reasoners.distillation import Batch, codi_terms
from reverse_codi.reasoners.training import Phase, last_complete_checkpoint, train_phase
from tests.tiny import make_problems, make_tiny_reasoner


def make_checkpoint(out: Path, step: int, *files: str) -> Path:
    folder = out / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    for file in files:
        (folder / file).touch()
    return folder


def test_the_newest_whole_checkpoint_is_found(tmp_path: Path) -> None:
    assert last_complete_checkpoint(tmp_path / "nowhere") is None
    make_checkpoint(tmp_path, 20, "model.safetensors", "trainer_state.json")
    newest = make_checkpoint(tmp_path, 100, "model.safetensors", "trainer_state.json")
    make_checkpoint(tmp_path, 120, "model.safetensors")  # cut: the state is written last
    make_checkpoint(tmp_path, 140, "trainer_state.json")
    assert last_complete_checkpoint(tmp_path) == str(newest)  # 100, though "20" sorts after it
    adapter = make_checkpoint(tmp_path, 60, "adapter_model.safetensors", "trainer_state.json")
    assert last_complete_checkpoint(tmp_path, "adapter_model.safetensors") == str(adapter)


def test_a_phase_lowers_the_loss(tmp_path: Path) -> None:
    reasoner = make_tiny_reasoner()
    model = reasoner.model.requires_grad_(True)
    rows = ProblemRows(make_problems(8), reasoner.tokenizer, reasoner.config)
    collator = Collator(reasoner.tokenizer.pad_token_id, model.eot_id, model.n_thoughts, 0.0, 0.0, 0.0)
    batch = Batch(**collator(rows.rows))
    with torch.no_grad():
        before = codi_terms(model, batch).student.item()
    phase = Phase(steps=25, batch_size=8, learning_rate=1e-2, hide_question=0.0)
    train_phase(
        model.train(), reasoner.tokenizer, rows, phase, tmp_path, seed=0, save_steps=25, report_to="none"
    )
    with torch.no_grad():
        assert codi_terms(model.eval(), batch).student.item() < 0.6 * before
    assert model.lm.config._attn_implementation == "sdpa"
    assert last_complete_checkpoint(tmp_path) == str(tmp_path / "checkpoint-25")
