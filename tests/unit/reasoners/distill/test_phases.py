from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from reverse_codi.reasoners.distill.data import Collator, ProblemRows
from reverse_codi.reasoners.distill.loss import Batch, codi_terms
from reverse_codi.reasoners.distill.phases import PhaseJob, train_phase
from reverse_codi.recipe.distill import Phase
from reverse_codi.storage.manifest import write_manifest
from reverse_codi.trainers.checkpoints import last_complete_checkpoint
from reverse_codi.utils.finite import NotFiniteError
from tests.tiny import make_problems, make_tiny_reasoner


def test_a_phase_lowers_the_loss(tmp_path: Path) -> None:
    reasoner = make_tiny_reasoner()
    model = reasoner.model.requires_grad_(True)
    rows = ProblemRows(make_problems(8), reasoner.tokenizer, reasoner.config)
    collator = Collator(reasoner.tokenizer.pad_token_id, model.eot_id, model.n_thoughts, 0.0, 0.0, 0.0)
    batch = Batch(**collator(rows.rows))
    with torch.no_grad():
        before = codi_terms(model, batch).student.item()
    phase = Phase(steps=25, batch_size=8, learning_rate=1e-2, hide_question=0.0)
    job = PhaseJob(phase=phase, out=tmp_path, seed=0, save_steps=25)
    train_phase(model.train(), reasoner.tokenizer, rows, job)
    with torch.no_grad():
        assert codi_terms(model.eval(), batch).student.item() < 0.6 * before
    assert model.lm.config._attn_implementation == "sdpa"
    assert last_complete_checkpoint(tmp_path) == str(tmp_path / "checkpoint-25")


@pytest.mark.long
def test_a_phase_that_diverges_stops_and_its_last_finite_checkpoint_is_gone_on_from(tmp_path: Path) -> None:
    reasoner = make_tiny_reasoner()
    model = reasoner.model.requires_grad_(True).train()
    rows = ProblemRows(make_problems(8), reasoner.tokenizer, reasoner.config)
    out = tmp_path / "written"
    phase = Phase(steps=3, batch_size=8, student=0, distill=0)
    job = PhaseJob(phase=phase, out=out, seed=0, save_steps=1)
    train_phase(model, reasoner.tokenizer, rows, job)
    with torch.no_grad():
        model.lm.get_input_embeddings().weight[7, 3] = float("nan")
    broken = out / "checkpoint-4"
    (out / "checkpoint-3").rename(broken)  # as a run that saved NaN would leave it
    saved = load_file(broken / "model.safetensors")
    save_file({k: torch.full_like(v, torch.nan) for k, v in saved.items()}, broken / "model.safetensors")
    write_manifest(broken)
    assert last_complete_checkpoint(out) == str(out / "checkpoint-2")
    train_phase(model, reasoner.tokenizer, rows, job)
    assert all(bool(weight.isfinite().all()) for weight in model.parameters())
    assert (out / "not-finite-4").is_dir()
    assert last_complete_checkpoint(out) == str(out / "checkpoint-3")
    wild = replace(
        job,
        phase=Phase(steps=9, batch_size=8, student=0, distill=0, learning_rate=1e38),
        out=tmp_path / "wild/written",
    )
    with pytest.raises(
        NotFiniteError, match=r"the last to go on from is .*written/checkpoint-\d\. Lower distill"
    ):
        train_phase(model, reasoner.tokenizer, rows, wild)
    assert last_complete_checkpoint(tmp_path / "wild/written") is not None
