"""`reverse-codi trace` with a small real model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from reverse_codi.cli.trace import main
from reverse_codi.reasoners.codi import CodiConfig, CodiReasoner, new_language_model
from reverse_codi.reasoners.latent_lm import LatentLM, projection
from reverse_codi.reasoners.sites import Site
from reverse_codi.tasks import Arithmetic, Split
from reverse_codi.tasks.words import word_tokenizer
from reverse_codi.traces.store import StoreError, TraceStore


@pytest.fixture
def reasoner(tmp_path: Path) -> CodiReasoner:
    torch.manual_seed(0)
    tokenizer = word_tokenizer(Arithmetic().vocabulary())
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = CodiConfig(
        n_thoughts=2,
        projection_width=8,
        bot_id=len(tokenizer) + 1,
        eot_id=len(tokenizer) + 2,
        max_answer_tokens=4,
    )
    model = LatentLM(
        new_language_model(tokenizer, **shape), projection(16, 8), 2, config.bot_id, config.eot_id
    )
    CodiReasoner(model, tokenizer, config).save_pretrained(tmp_path / "reasoner")
    return CodiReasoner.from_pretrained(tmp_path / "reasoner")


def test_the_verb_collects_and_goes_on(
    tmp_path: Path, reasoner: CodiReasoner, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"reasoner: {{path: {tmp_path / 'reasoner'}}}\n"
        f"trace: {{out: {tmp_path / 'traces'}, n: 10, seed: 5, shard_rows: 4, batch_size: 3}}\n"
    )
    for _ in range(2):
        main([str(recipe), "--trace.n", "7", "--trace.split", "heldout"])
        assert "7 traces in" in capsys.readouterr().out
    store = TraceStore.open(tmp_path / "traces", reasoner)
    problems = Arithmetic().problems(Split.HELDOUT, 7, seed=5)
    assert store.questions == [problem.question for problem in problems]
    chains = reasoner.think(store.questions)
    for site in map(Site.parse, ("h0", "h2", "z1")):
        torch.testing.assert_close(store.vectors(site), chains.at(site))


def test_vectors_are_imported_under_the_hash_of_their_reasoner(
    tmp_path: Path, reasoner: CodiReasoner, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = [problem.question for problem in Arithmetic().problems(Split.HELDOUT, 3, seed=5)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"question": q}) + "\n" for q in questions))
    chains = reasoner.think(questions)

    def imported(hidden_states: torch.Tensor, latent_inputs: torch.Tensor, name: str) -> TraceStore:
        np.save(tmp_path / "h.npy", hidden_states.numpy())
        np.save(tmp_path / "z.npy", latent_inputs.numpy())
        files = ["--hidden-states", str(tmp_path / "h.npy"), "--latent-inputs", str(tmp_path / "z.npy")]
        whose = ["--rows", str(tmp_path / "rows.jsonl"), "--reasoner", str(tmp_path / "reasoner")]
        main(["import", *files, *whose, "--out", str(tmp_path / name)])
        return TraceStore.open(tmp_path / name, reasoner)

    store = imported(chains.hidden_states, chains.latent_inputs, "own")
    assert store.manifest.header.tokenizer_hash == reasoner.tokenizer_hash
    assert torch.equal(store.latent_inputs, chains.latent_inputs) and store.questions == questions
    assert "not the projection" not in capsys.readouterr().out
    imported(chains.hidden_states.bfloat16().float(), chains.latent_inputs.bfloat16().float(), "rounded")
    assert "not the projection" not in capsys.readouterr().out
    imported(chains.hidden_states, chains.latent_inputs.flip(1), "numbered otherwise")
    assert "6 latent inputs are not the projection of their hidden states" in " ".join(
        capsys.readouterr().out.split()
    )
    with pytest.raises(StoreError, match=r"hidden.states are \[3, 2, 16\]; the reasoner's are \[N, 3, 16\]"):
        imported(chains.hidden_states[:, 1:], chains.latent_inputs[:, 1:], "too few")
    with pytest.raises(SystemExit):
        main(
            [
                "import",
                "--hidden-states",
                "h.npy",
                "--latent-inputs",
                "z.npy",
                "--rows",
                "rows.jsonl",
                "--out",
                "x",
            ]
        )
    assert "--reasoner" in capsys.readouterr().err
