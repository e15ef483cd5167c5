"""Python that translates a thought without this package, for the cards."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from reverse_codi.reasoners.plain_text import Filled, writes_spaces_everywhere
from reverse_codi.verbalize.config import MARKER, VerbalizerConfig

NOTE = (
    "`thoughts` are latent inputs z of this reasoner, as `Reasoner.think` returns them. Of a hidden state h, "
    "z = prj(h): `Reasoner.project`."
)


def with_adapter(
    base: Sequence[str],
    adapter: str,
    config: VerbalizerConfig,
    tokenizer: PreTrainedTokenizerBase,
    width: int,
    max_new_tokens: int,
) -> str:
    """For the base with the adapter beside it, in peft.

    Args:
        base: lines that assign `base`.
        adapter: folder or hub id of the verbalizer.
        config: of its prompts.
        tokenizer: the reasoner's.
        width: d.
        max_new_tokens: longest text.
    """
    *imports, assigned = base
    spaced = writes_spaces_everywhere(tokenizer)
    standard = [*(["import re"] if spaced else []), *imports]
    return "\n".join(
        [
            *([*standard, ""] if standard else []),
            "import torch",
            "from peft import PeftModel",
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            "",
            assigned,
            "tokenizer = AutoTokenizer.from_pretrained(base)",
            f'adapter = "{adapter}"',
            "model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter).eval()",
            *_translation(config, tokenizer, width, max_new_tokens),
            *(_NO_SPACES if spaced else []),
            "print(text)",
        ]
    )


def merged(
    folder: str,
    config: VerbalizerConfig,
    tokenizer: PreTrainedTokenizerBase,
    width: int,
    max_new_tokens: int,
) -> str:
    """For a merged model, in transformers; arguments as in `with_adapter`."""
    return "\n".join(
        [
            "import torch",
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            "",
            f'tokenizer = AutoTokenizer.from_pretrained("{folder}")',
            f'model = AutoModelForCausalLM.from_pretrained("{folder}").eval()',
            *_translation(config, tokenizer, width, max_new_tokens),
            "print(text)",
        ]
    )


_NO_SPACES = (
    "# This tokenizer puts a space between any two words.",
    r'text = re.sub(r"(?<=\() | (?=[.,:;?)])", "", text)',
)


def _translation(
    config: VerbalizerConfig, tokenizer: PreTrainedTokenizerBase, width: int, max_new_tokens: int
) -> list[str]:
    shape = f"[{config.n_slots}, {width}]: latent inputs z, one a slot"
    lines = [
        "embed = model.get_input_embeddings()",
        "",
        f'thoughts = torch.load("thoughts.pt").to(embed.weight.dtype)  # {shape}',
    ]
    if config.injection.norm is not None:
        lines.append(f"thoughts *= {config.injection.norm} / thoughts.norm(dim=-1, keepdim=True)")
    return [
        *lines,
        *_prompt(config, tokenizer),
        "asked = {",
        '    "inputs_embeds": prompt[None],',
        '    "attention_mask": torch.ones(1, len(prompt), dtype=torch.long),',
        '    "pad_token_id": tokenizer.eos_token_id,',
        "}",
        f"ids = model.generate(**asked, max_new_tokens={max_new_tokens}, do_sample=False)",
        "text = tokenizer.decode(ids[0], skip_special_tokens=True)",
    ]


def _prompt(config: VerbalizerConfig, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The prompt's embeddings; its words as token ids, which say what is a control token and what is text."""
    pieces = config.template.split(MARKER)
    apart = len(pieces) - 1 == config.n_slots
    vectors = [f"thoughts[{s} : {s + 1}]" for s in range(config.n_slots)] if apart else ["thoughts"]
    if vectors == ["thoughts[0 : 1]"]:
        vectors = ["thoughts"]
    parts = []
    for piece, vector in zip(pieces, [*vectors, None], strict=True):
        if ids := Filled(piece).ids(tokenizer):
            parts.append(f"embed(torch.tensor({ids}))")
        if vector is not None:
            parts.append(vector)
    if len(parts) == 1:
        return [f"prompt = {parts[0]}  # [T, d]"]
    return ["with torch.no_grad():", f"    prompt = torch.cat([{', '.join(parts)}])  # [T, d]"]
