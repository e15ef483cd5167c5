"""A verbalizer merged into its base: one language model that plain transformers and vLLM load."""

from __future__ import annotations

import copy
from pathlib import Path

from tokenizers import Regex, decoders
from transformers import PreTrainedTokenizerBase

from reverse_codi.errors import UserError
from reverse_codi.reasoners.plain_text import writes_spaces_everywhere
from reverse_codi.rollout.merging import Base
from reverse_codi.storage.cards import write_card
from reverse_codi.storage.folders import whole_folder
from reverse_codi.storage.outputs import check_folder
from reverse_codi.verbalize.publishing.card import merged_card
from reverse_codi.verbalize.publishing.place import Place
from reverse_codi.verbalize.verbalizer import Verbalizer


def export_merged(
    verbalizer: Verbalizer, folder: str | Path, license: str | None = None, repo_id: str | None = None
) -> Path:
    """Write a verbalizer as one language model, with its tokenizer and a card.

    Args:
        verbalizer: loaded.
        folder: gets the files; must be empty or missing.
        license: as the hub names it; for the card.
        repo_id: where it will be on the hub, for the card; None says that it is loaded from the folder.

    Returns:
        The folder.

    Raises:
        UserError: the folder holds something.
    """
    out = check_target(folder)
    reasoner, translator = verbalizer.reasoner, verbalizer.translator
    base = Base(reasoner.saved_path(), reasoner.lm.dtype)
    model = base.merged(translator.folder)
    place = Place.of(reasoner, verbalizer.source)
    with whole_folder(out) as temporary:
        model.save_pretrained(temporary)
        with_its_spaces(reasoner.tokenizer).save_pretrained(temporary)
        card = merged_card(translator, verbalizer.metric, place, repo_id or str(folder), license)
        write_card(temporary, card)
    return out


def check_target(folder: str | Path) -> Path:
    """Refuse a folder that holds something, or cannot be written.

    Raises:
        UserError: it is not empty, or no folder.
    """
    out = check_folder(folder, "--merged")
    if out.is_dir() and any(out.iterdir()):
        raise UserError(f"--merged = {out} holds files already; give an empty or a new folder")
    return out


def with_its_spaces(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """A tokenizer that decodes by itself to what a translation shows.

    One that knows whole words only has no decoder: transformers and vLLM would put a space before each full
    stop, which `plain_text.decoded` takes away again.
    """
    if not writes_spaces_everywhere(tokenizer):
        return tokenizer
    changed = copy.deepcopy(tokenizer)
    # A prefix that no word has: WordPiece joins what has it to the word before.
    spaced = decoders.WordPiece(prefix="\0", cleanup=False)
    closed = decoders.Replace(Regex(r"(?<=\() | (?=[.,:;?)])"), "")
    changed.backend_tokenizer.decoder = decoders.Sequence([spaced, decoders.Fuse(), closed])
    return changed
