"""The best texts ever found for each training thought: what searches leave and distillation learns from.

Each search keeps its best texts in a file of its own, so that nothing that was found is lost, and a resumed
run reads what is there. The kept texts of 42,000 thoughts (7,000 traces of 6 thoughts), 4 a thought, are
170,000 rows of some 100 bytes.

Shapes: N thoughts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from datasets import Dataset

from reverse_codi.storage.files import DamagedError, whole_file
from reverse_codi.storage.manifest import check_files, write_manifest

TEXTS_FILE = "texts.parquet"


@dataclass(frozen=True)
class Found:
    """One text that a search kept for a thought.

    Attributes:
        thought: row of the training thoughts.
        site: of the thought.
        text: what was found.
        reward: its combined reward.
        match: of the text with the thought.
        lead: by how much its reward exceeds that of the thought's next text with other claims; infinite where
            there is none, negative for a text that is not the best.
        search: which search found it, 1 for the first.
        policy: version that the rollout actors held; 0 where no policy wrote it.
    """

    thought: int
    site: str
    text: str
    reward: float
    match: float
    lead: float
    search: int
    policy: int


class BestTexts:
    """Texts that searches kept, of all searches so far.

    Args:
        found: in any order.
    """

    def __init__(self, found: Iterable[Found] = ()) -> None:
        self.found = list(found)

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.found)

    @property
    def searches(self) -> int:
        """The last search that found a text; 0 for none."""
        return max((found.search for found in self.found), default=0)

    def added(self, found: Iterable[Found]) -> BestTexts:
        """With the texts of one more search."""
        return BestTexts([*self.found, *found])

    def best(self) -> dict[int, Found]:
        """The best text of each thought, in the order of the thoughts; of equals the one found first."""
        chosen: dict[int, Found] = {}
        for found in self.found:
            known = chosen.get(found.thought)
            if known is None or found.reward > known.reward:
                chosen[found.thought] = found
        return dict(sorted(chosen.items()))

    def save(self, folder: Path) -> None:
        """Write `texts.parquet`."""
        columns = {name: [getattr(found, name) for found in self.found] for name in Found.__annotations__}
        with whole_file(folder / TEXTS_FILE) as temporary:
            Dataset.from_dict(columns).to_parquet(str(temporary))
        write_manifest(folder, (TEXTS_FILE,))

    @classmethod
    def load(cls, folders: Sequence[Path]) -> BestTexts:
        """Read the texts of several searches.

        Raises:
            DamagedError: a file is missing, cut, or not what was written.
        """
        return cls(found for folder in folders for found in _read(folder))


def _read(folder: Path) -> list[Found]:
    file, fix = folder / TEXTS_FILE, f"restore it from a copy, or move {folder} away to search anew"
    check_files(folder, (TEXTS_FILE,), fix)
    try:
        return [Found(**row) for row in pq.read_table(str(file)).to_pylist()]
    except (OSError, pa.ArrowException, TypeError) as error:
        raise DamagedError(f"{file} is missing, cut or damaged ({error}); {fix}") from None
