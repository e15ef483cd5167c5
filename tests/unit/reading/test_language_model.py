from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reverse_codi.reading.language_model import LanguageModel, LanguageModelError
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.utils import micro_batch

TEXTS = ["12 + 5 = 17.", "", "17 * 2 = 34. 34 - 4 = 30.", "So"]


@pytest.fixture(scope="module")
def lm(tiny_folders: tuple[Path, Path]) -> LanguageModel:
    """A CODI reasoner's folder holds a plain transformers checkpoint."""
    return LanguageModel.load(str(tiny_folders[0]))


def test_likelihood_is_that_of_one_text_alone_token_by_token(lm: LanguageModel) -> None:
    found = lm.nll(TEXTS)
    assert found[1] == 0
    for text, nll in zip(TEXTS, found.tolist(), strict=True):
        if not text:
            continue
        ids = [lm.tokenizer.eos_token_id, *lm.tokenizer(text, add_special_tokens=False).input_ids]
        total = 0.0
        for place in range(1, len(ids)):
            logits = lm.model(input_ids=torch.tensor([ids[:place]])).logits[0, -1]
            total -= float(logits.log_softmax(-1)[ids[place]])
        assert nll == pytest.approx(total / (len(ids) - 1), abs=1e-5)


def test_other_texts_in_the_batch_change_nothing(lm: LanguageModel) -> None:
    one_by_one = torch.cat([lm.nll([text]) for text in TEXTS])
    assert torch.allclose(lm.nll(TEXTS), one_by_one, atol=1e-5)


def test_the_reasoners_own_likelihood_is_the_same(lm: LanguageModel, tiny_reasoner: CodiReasoner) -> None:
    assert torch.allclose(lm.nll(TEXTS), tiny_reasoner.nll(TEXTS), atol=1e-5)


def test_a_place_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        LanguageModelError, match=rf"the language model '{tmp_path}' could not be loaded .*give a folder"
    ):
        LanguageModel.load(str(tmp_path))
    with pytest.raises(LanguageModelError, match=r"none\.gguf"):
        LanguageModel.load(str(tmp_path / "none.gguf"))


def test_a_large_vocabulary_gets_fewer_rows_at_once_and_the_same_likelihood(
    lm: LanguageModel, tiny_reasoner: CodiReasoner, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, rows = lm.model.config.vocab_size, []
    hook = lm.model.register_forward_hook(lambda module, args, out: rows.append(out.logits.numel()))
    at_once = [lm.nll(TEXTS * 9), tiny_reasoner.nll(TEXTS * 9)]
    # Two texts of 10 tokens: of what one forward pass holds, logits are a third.
    monkeypatch.setattr(micro_batch, "_NO_GRADIENTS", 4 * 3 * 2 * 10 * words)
    in_parts = [lm.nll(TEXTS * 9), tiny_reasoner.nll(TEXTS * 9)]
    hook.remove()
    torch.testing.assert_close(in_parts, at_once)
    assert len(rows) > 9 and max(rows[1:]) <= 2 * 16 * words
