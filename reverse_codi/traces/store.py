"""The trace store: write traces shard by shard, and read them as tensors.

`reverse_codi.traces.files` defines the files. Shapes: N traces, K thoughts, d width.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from reverse_codi.reasoners.base import Patch, Reasoner
from reverse_codi.reasoners.sites import ANSWER, Site
from reverse_codi.storage.files import file_sha256, write_whole
from reverse_codi.storage.hub import fetched, is_hub_id, pushed
from reverse_codi.traces.files import (
    MANIFEST,
    Manifest,
    Shard,
    StoreError,
    Trace,
    TraceHeader,
)
from reverse_codi.traces.publish import SHARDS, write_store
from reverse_codi.traces.shards import decode, encode, vectors_of
from reverse_codi.utils.notebook import data_frame, html_line, html_table

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped]

__all__ = ["StoreError", "Trace", "TraceHeader", "TraceStore", "TraceWriter"]

# Traces that a notebook shows, and the columns of a store that are no vectors.
SHOWN = 10
_TEXTS = ["question", "gold", "claims", "output", "answer", "correct"]


class TraceWriter:
    """Appends shards to a store; `open` makes one."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest

    @property
    def rows(self) -> int:
        """Rows written so far, where writing continues."""
        return self.manifest.rows_written

    @classmethod
    def open(cls, path: str | Path, header: TraceHeader, total: int) -> Self:
        """Start a store of `total` rows, or continue the one at `path`.

        Raises:
            StoreError: the store there holds other traces, or one of its shards is missing or corrupt.
        """
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / MANIFEST).is_file():
            if any(folder.glob("*.arrow")):
                raise StoreError(
                    f"{folder} holds shards but no {MANIFEST}; choose another folder, or empty it"
                )
            manifest = Manifest.new(header, total)
            manifest.write(folder)
            return cls(folder, manifest)
        manifest = Manifest.read(folder)
        for pattern in ("shard-*.arrow.*tmp", f"{MANIFEST}.*tmp"):  # from a run that was killed while writing
            for leftover in folder.glob(pattern):
                leftover.unlink()
        wanted = {**header.model_dump(), "rows_expected": total}
        found = {**manifest.header.model_dump(), "rows_expected": manifest.rows_expected}
        differ = [
            f"{key} is {found[key]!r} there, {wanted[key]!r} here"
            for key in wanted
            if found[key] != wanted[key]
        ]
        if differ:
            raise StoreError(
                f"{folder} holds other traces: {'; '.join(differ)}. Choose another folder, or delete it"
            )
        check_shards(folder, manifest)
        return cls(folder, manifest)

    def append_shard(self, traces: Sequence[Trace]) -> None:
        """Write traces as the next shard, then list it in the manifest.

        Raises:
            StoreError: a vector has the wrong shape or is not finite, or there are more rows than expected.
            DiskError: the disk refused; the store is unchanged.
        """
        if not traces:
            raise StoreError("a shard needs at least one trace")
        if self.rows + len(traces) > self.manifest.rows_expected:
            more = self.rows + len(traces)
            raise StoreError(f"{self.folder}: {more} rows, but {self.manifest.rows_expected} were announced")
        path = self.folder / f"shard-{len(self.manifest.shards):05d}.arrow"
        data = encode(traces, self.manifest.header)
        write_whole(path, memoryview(data))
        shard = Shard(file=path.name, rows=len(traces), sha256=hashlib.sha256(data).hexdigest())
        manifest = self.manifest.with_shard(shard)
        manifest.write(self.folder)
        self.manifest = manifest


def check_shards(folder: Path, manifest: Manifest) -> None:
    """Compare every shard with the manifest.

    Raises:
        StoreError: names each shard that is missing or whose bytes differ.
    """
    problems = []
    for shard in manifest.shards:
        path = folder / shard.file
        if not path.is_file():
            problems.append(f"{shard.file} is missing")
        elif (found := file_sha256(path)) != shard.sha256:
            problems.append(f"{shard.file} is corrupt (sha256 {found}, expected {shard.sha256})")
    if problems:
        raise StoreError(
            f"{folder}: {'; '.join(problems)}. Restore the files, or delete the folder and collect anew"
        )


class TraceStore:
    """Traces in memory (mapped from disk where they were opened).

    Attributes:
        manifest: the facts about the store; `rows_expected` may exceed `len(store)`.
        table: the rows, a pyarrow.Table of `traces.files.schema`.
        answer_states: [N, d] vectors of the site `answer`, in memory only; see `with_answer_states`.
    """

    def __init__(self, manifest: Manifest, table: Any, answer_states: Tensor | None = None) -> None:
        self.manifest = manifest
        self.table = table
        self.answer_states = answer_states

    @classmethod
    def open(cls, path: str | Path, reasoner: Reasoner | None = None, revision: str | None = None) -> Self:
        """Open a store, finished or not.

        Args:
            path: its folder, or its id on the hub.
            reasoner: the reasoner whose traces are wanted; None skips the check.
            revision: commit, branch or tag of a hub id.

        Raises:
            StoreError: no store, a missing or corrupt shard, or the traces of another reasoner.
            HubError: no such folder, and the hub does not have it.
        """
        folder = Path(path)
        if is_hub_id(path):
            folder = fetched(str(path), revision, (MANIFEST, SHARDS), "traces", "dataset")
        manifest = Manifest.read(folder)
        if reasoner is not None:
            check_reasoner(folder, manifest.header, reasoner)
        check_shards(folder, manifest)
        table = decode([folder / shard.file for shard in manifest.shards], manifest.header)
        if table.num_rows != manifest.rows_written:
            raise StoreError(
                f"{folder}: the shards hold {table.num_rows} traces, {MANIFEST} says "
                f"{manifest.rows_written}; "
                "restore the files, or delete the folder and collect anew"
            )
        return cls(manifest, table)

    def save_pretrained(self, folder: str | Path, *, license: str | None = None) -> None:
        """Write the store with a card; `datasets.load_dataset` loads the folder, too.

        Args:
            folder: made if it is missing.
            license: as the hub names it; for the card.
        """
        write_store(self, Path(folder), str(folder), license)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        license: str | None = None,
        private: bool | None = None,
        revision: str | None = None,
        token: str | None = None,
    ) -> str:
        """Upload what `save_pretrained` writes, as one commit to a data set.

        Args:
            repo_id: "owner/name"; made if there is none.
            license: as in `save_pretrained`.
            private: whether a new repository is private; None leaves it to the owner's settings.
            revision: branch; `main` if None.
            token: of the hub; if None, that of `hf auth login` or HF_TOKEN.

        Returns:
            The commit's address.

        Raises:
            HubError: the hub refused, or cannot be reached.
        """
        return pushed(
            lambda folder: write_store(self, folder, repo_id, license),
            repo_id,
            "dataset",
            private=private,
            revision=revision,
            token=token,
        )

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def to_pandas(self) -> pandas.DataFrame:
        """A row a trace: question, gold, claims, output, answer, correct; the vectors are `vectors(site)`."""
        return data_frame(self.table.select(_TEXTS).to_pylist())

    def __repr__(self) -> str:
        """How many traces, whose, and how many of their answers are right."""
        header = self.manifest.header
        known = [correct for correct in self.correct if correct is not None]
        right = f", {sum(known) / len(known):.1%} right" if known else ""
        return (
            f"TraceStore: {len(self)} traces ({header.split}) of {header.reasoner}, "
            f"{header.n_thoughts} thoughts of width {header.width}{right}"
        )

    def _repr_html_(self) -> str:
        """The same with the first traces, for notebooks."""
        columns = ("question", "answer", "gold")
        rows = self.table.slice(0, SHOWN).select(columns).to_pylist()
        table = html_table(columns, [[row[name] for name in columns] for row in rows])
        more = len(self) - SHOWN
        rest = html_line(f"... and {more} more; use to_pandas()") if more > 0 else ""
        return html_line(repr(self)) + table + rest

    def __getitem__(self, index: int) -> Trace:
        k, d = self.manifest.header.n_thoughts, self.manifest.header.width
        row = self.table.slice(range(len(self))[index], 1)
        fields = row.drop_columns(["hidden_states", "latent_inputs"]).to_pylist()[0]
        hidden_states, latent_inputs = (
            vectors_of(row, "hidden_states", k + 1, d)[0],
            vectors_of(row, "latent_inputs", k, d)[0],
        )
        return Trace(hidden_states=hidden_states, latent_inputs=latent_inputs, **fields)

    @property
    def identity(self) -> dict[str, Any]:
        """The identity of these traces: the reasoner, the number of rows, and a hash of the shards."""
        header = self.manifest.header
        shards = "".join(shard.sha256 for shard in self.manifest.shards)
        return {
            "reasoner": header.reasoner_hash,
            "split": header.split,
            "seed": header.seed,
            "rows": len(self),
            "content": hashlib.sha256(shards.encode()).hexdigest()[:16],
        }

    @property
    def complete(self) -> bool:
        """Whether the store has all expected rows."""
        return len(self) == self.manifest.rows_expected

    @functools.cached_property
    def hidden_states(self) -> Tensor:
        """h0..hK: [N, K + 1, d] float32."""
        header = self.manifest.header
        return torch.from_numpy(vectors_of(self.table, "hidden_states", header.n_thoughts + 1, header.width))

    @functools.cached_property
    def latent_inputs(self) -> Tensor:
        """z0..z(K-1): [N, K, d] float32."""
        header = self.manifest.header
        return torch.from_numpy(vectors_of(self.table, "latent_inputs", header.n_thoughts, header.width))

    def vectors(self, site: Site) -> Tensor:
        """The vectors [N, d] of one site.

        Raises:
            StoreError: the store does not hold it.
        """
        if site == ANSWER:
            if self.answer_states is None:
                raise StoreError(f"site {ANSWER} is not on disk; take store.with_answer_states(reasoner)")
            return self.answer_states
        if str(site) not in self.manifest.sites:
            raise StoreError(f"site {site} is not stored; choose from: {', '.join(self.manifest.sites)}")
        return (self.hidden_states if site.kind == "h" else self.latent_inputs)[:, site.index]

    def with_answer_states(self, reasoner: Reasoner) -> TraceStore:
        """The same traces with the states that `reasoner` has at its answer cue after the stored thoughts."""
        states = reasoner.answer_states(self.questions, Patch.all(self.latent_inputs))
        return TraceStore(self.manifest, self.table, states)

    def _column(self, name: str) -> list[Any]:
        values: list[Any] = self.table[name].to_pylist()
        return values

    @functools.cached_property
    def questions(self) -> list[str]:
        """The questions."""
        return self._column("question")

    @functools.cached_property
    def signatures(self) -> list[str]:
        """Identity of each problem, whatever its wording."""
        return self._column("signature")

    @functools.cached_property
    def gold(self) -> list[str | None]:
        """Gold answers, None where unknown."""
        return self._column("gold")

    @functools.cached_property
    def claims(self) -> list[list[str]]:
        """Gold claims of each problem, in order."""
        return self._column("claims")

    @functools.cached_property
    def outputs(self) -> list[str]:
        """What the reasoner wrote after its thoughts, "" where unknown."""
        return self._column("output")

    @functools.cached_property
    def answers(self) -> list[str | None]:
        """The reasoner's answers, None where it states none."""
        return self._column("answer")

    @functools.cached_property
    def correct(self) -> list[bool | None]:
        """Whether each answer is right, None where the gold answer is unknown."""
        return self._column("correct")

    def select(self, indices: Iterable[int]) -> TraceStore:
        """The traces at `indices`, in that order, as a store in memory."""
        rows = [range(len(self))[int(i)] for i in indices]
        manifest = self.manifest.model_copy(
            update={"rows_expected": len(rows), "rows_written": len(rows), "shards": []}
        )
        states = None if self.answer_states is None else self.answer_states[rows]
        return TraceStore(manifest, self.table.take(rows) if rows else self.table.slice(0, 0), states)


def check_reasoner(folder: Path, header: TraceHeader, reasoner: Reasoner) -> None:
    """Refuse traces of another reasoner; an imported store may leave its tokenizer hash empty."""
    pairs = [("content hash", header.reasoner_hash, reasoner.content_hash)]
    if header.tokenizer_hash:
        pairs.append(("tokenizer hash", header.tokenizer_hash, reasoner.tokenizer_hash))
    for name, stored, loaded in pairs:
        if stored != loaded:
            raise StoreError(
                f"{folder} is of another reasoner ({header.reasoner}): {name} {stored} in the store, "
                f"{loaded} of the one given; load that reasoner, or collect traces of this one"
            )
    shape, of_reasoner = (header.n_thoughts, header.width), (reasoner.n_thoughts, reasoner.width)
    if shape != of_reasoner:
        raise StoreError(
            f"{folder} holds {shape[0]} thoughts of width {shape[1]}, its reasoner has {of_reasoner[0]} of "
            f"width {of_reasoner[1]}; export the vectors of every thought, and import them again"
        )
