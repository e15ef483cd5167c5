"""Texts of all kinds: asked, read, scored and parsed by models with tokenizers of three kinds."""

from __future__ import annotations

from decimal import Decimal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reverse_codi.reading.claims import claimed, claims_text
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.question_checks import all_notices, faults
from reverse_codi.reasoners.text_limits import TextLimitError
from reverse_codi.storage.text_files import half_character
from reverse_codi.tasks.answers import canonical_plain, canonical_sentence, canonical_truth, stated
from reverse_codi.tasks.claims import claims_of
from reverse_codi.tasks.numbers import canonical_number, whole_number
from reverse_codi.verbalize.questions import Question
from tests.fuzz.cases import cases, ends_well
from tests.fuzz.damage import texts
from tests.huginn import make_tiny_huginn
from tests.tiny import make_tiny_reasoner
from tests.tokenizers import byte_level_reasoner

REASONERS = {"words": make_tiny_reasoner(), "bytes": byte_level_reasoner()}
HUGINN = make_tiny_huginn()


def control(reasoner: CodiReasoner) -> set[int]:
    """Ids that no text may become; a word that a tokenizer of words does not know is its unknown one."""
    tokenizer = reasoner.tokenizer
    found = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    return (found | {reasoner.config.bot_id, reasoner.config.eot_id}) - {tokenizer.unk_token_id}


@cases("texts")
@given(text=texts, kind=st.sampled_from(sorted(REASONERS)))
def test_a_text_is_read_as_its_characters_or_refused(text: str, kind: str) -> None:
    reasoner = REASONERS[kind]
    [fault] = faults(reasoner, [text])
    if half_character(text):
        assert fault is not None
        for work in (reasoner.read, reasoner.nll, reasoner.think):
            with pytest.raises(TextLimitError, match="half a character"):
                work([text])
        return
    ids = reasoner.ids(text)
    assert not control(reasoner) & {*ids, *reasoner.question_ids(text)}
    if kind == "bytes":
        assert reasoner.tokenizer.decode(ids) == text
    if fault is None:
        assert reasoner.think([text]).hidden_states.isfinite().all()
        assert isinstance(all_notices(reasoner, [Question(text, "")], None), list)
    else:
        assert len(fault) < 500
    states = ends_well(lambda: reasoner.read([text]), "tokens")
    assert states is None or (states[0].isfinite().all() and states[0].shape[1] == max(1, len(ids)))
    scores = ends_well(lambda: reasoner.nll([text]), "tokens")
    assert scores is None or torch.isfinite(scores).all()
    huginn = ends_well(lambda: HUGINN.ids(text), "tokens")
    assert huginn is None or HUGINN.config.bos_token_id not in huginn[1:]
    claims = claims_of(text)
    again = claimed(claims_text(claims))
    assert again is not None
    for parse in (
        canonical_plain,
        canonical_number,
        whole_number,
        canonical_sentence,
        canonical_truth,
        stated_number,
    ):
        found = parse(text)
        assert found is None or isinstance(found, str)
    number = canonical_number(text)
    assert number is None or Decimal(number).is_finite()


def stated_number(text: str) -> str | None:
    return stated(text, canonical_number)
