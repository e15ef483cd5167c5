"""A trace store as a data set of the hub: the same files, and a card that `datasets.load_dataset` reads."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import DatasetCardData

from reverse_codi.reasoners.card import licence_sentence
from reverse_codi.storage.cards import LIBRARY, card, markdown_table, write_card
from reverse_codi.storage.files import write_whole
from reverse_codi.traces.files import Shard
from reverse_codi.traces.shards import as_stream

if TYPE_CHECKING:
    from reverse_codi.traces.store import TraceStore

TEMPLATE = Path(__file__).parent / "templates" / "traces.md.jinja"
SHARDS = "shard-*.arrow"


def write_store(store: TraceStore, folder: Path, path: str, license: str | None = None) -> None:
    """Write a store, with a card, into a folder.

    Args:
        store: opened, or in memory.
        folder: gets shards, manifest and card; made if it is missing.
        path: folder or hub id that it will be loaded from.
        license: as the hub names it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards: list[Shard] = []
    begun = 0
    for rows in [shard.rows for shard in store.manifest.shards] or [len(store)]:
        if not rows:
            continue
        data = as_stream(store.table.slice(begun, rows))
        file = folder / f"shard-{len(shards):05d}.arrow"
        write_whole(file, memoryview(data))
        shards.append(Shard(file=file.name, rows=rows, sha256=hashlib.sha256(data).hexdigest()))
        begun += rows
    store.manifest.model_copy(update={"shards": shards, "rows_written": begun}).write(folder)
    write_card(folder, traces_card(store, path, license))


def traces_card(store: TraceStore, path: str, license: str | None = None) -> str:
    """The card of a store; arguments as in `write_store`.

    Its head names the shards: left to itself, `load_dataset` would also take the manifest for data.
    """
    header = store.manifest.header
    split = header.split if re.fullmatch(r"\w+(\.\w+)*", header.split) else "train"
    known = [right for right in store.correct if right is not None]
    facts = {
        "reasoner": f"`{header.reasoner}`, content hash `{header.reasoner_hash}`",
        "tokenizer": f"hash `{header.tokenizer_hash}`" if header.tokenizer_hash else "unknown",
        "thoughts": f"K = {header.n_thoughts} of width {header.width}",
        "split": f"`{header.split}`, seed {header.seed}",
        "right answers": f"{sum(known) / len(known):.3f} of {len(known):,}" if known else "unknown",
    }
    return card(
        TEMPLATE,
        DatasetCardData(
            license=license,
            tags=[LIBRARY, "latent-reasoning"],
            configs=[{"config_name": "default", "data_files": [{"split": split, "path": SHARDS}]}],
        ),
        name=Path(path).name,
        path=path,
        rows=len(store),
        facts=markdown_table(["", ""], [[name, fact] for name, fact in facts.items()]),
        split=split,
        k=header.n_thoughts,
        width=header.width,
        licence=licence_sentence(license),
    )
