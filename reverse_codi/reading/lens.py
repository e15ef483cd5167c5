"""The logit lens: the likeliest next tokens of a hidden state (nostalgebraist 2020)."""

from __future__ import annotations

from torch import Tensor

from reverse_codi.reasoners.codi import CodiReasoner

TOP = 5
# Hidden states whose logits are held in memory at once.
ROWS = 256


def lens(reasoner: CodiReasoner, hidden_states: Tensor) -> list[list[str]]:
    """The likeliest 5 tokens of each hidden state [N, d], likeliest first.

    Begin and end of thought are named <bot> and <eot>, other control tokens as the tokenizer does. A token
    without a text of its own and the end of text are <?>, not an id, which would read as a number.
    """
    special = {reasoner.config.bot_id: "<bot>", reasoner.config.eot_id: "<eot>"}

    def name(token: int) -> str:
        return special.get(token) or reasoner.decode([token]) or "<?>"

    tops = (reasoner.logits(rows).topk(TOP).indices for rows in hidden_states.split(ROWS))
    return [[name(token) for token in row] for rows in tops for row in rows.tolist()]
