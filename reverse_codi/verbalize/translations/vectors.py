"""Vectors from anywhere, in a file or in memory: checked before anything is loaded or computed.

Shapes: N rows, K sites, d width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from reverse_codi.errors import UserError
from reverse_codi.reasoners.sites import Site
from reverse_codi.storage.array_files import load_array

MEMORY = "the vectors"
SUFFIXES = (".npy", ".npz", ".safetensors", ".parquet")


class VectorsError(UserError):
    """Vectors cannot be translated; the message names file, row and what to do."""


@dataclass(frozen=True)
class Vectors:
    """N rows of vectors at K sites.

    Attributes:
        file: where they come from; `MEMORY` where no file holds them.
        values: [N, K, d] float32, finite.
        sites: K sites, each an h or a z of the final layer.
        questions: N questions, None where unknown.
        answers: N answers, None where unknown.
    """

    file: str | Path
    values: Tensor
    sites: list[Site]
    questions: list[str | None]
    answers: list[str | None]

    @property
    def sources(self) -> list[str]:
        """File and row of each."""
        return [f"{self.file}[{row}]" for row in range(len(self.values))]

    def at(self, site: Site) -> Tensor:
        """The vectors [N, d] of one site."""
        return self.values[:, self.sites.index(site)]


def read_vectors(file: Path, names: Sequence[str]) -> Vectors:
    """Read [d], [N, d] or [N, K, d] from .npy, .npz, .safetensors or .parquet.

    A .parquet file has a row a trace: `vectors` (or its only column of lists), and `question` and `answer` if
    they are known.

    Args:
        file: of those suffixes.
        names: sites, `h0 h1`; `z0..` stands for as many from z0 on as the file has.

    Raises:
        FileNotFoundError: no such file.
        VectorsError: another format or shape, sites that do not fit, or a number that is NaN or infinite.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no file {file}; give vectors as {', '.join(SUFFIXES)}")
    columns: dict[str, list[Any]] = {}
    match file.suffix:
        case ".npy" | ".npz":
            raw = _numpy(file)
        case ".safetensors":
            raw = _safetensors(file)
        case ".parquet":
            raw, columns = _parquet(file)
        case _:
            raise VectorsError(f"{file} is none of {', '.join(SUFFIXES)}; save the vectors as one of those")
    return _checked(file, raw, names, columns)


def as_vectors(
    z: ArrayLike | Tensor, names: Sequence[str], questions: Sequence[str] | None = None
) -> Vectors:
    """Vectors [d], [N, d] or [N, K, d] in memory.

    Args:
        z: a NumPy array, a tensor of any device, or nested lists.
        names: as in `read_vectors`.
        questions: the question of each row, if they are known.

    Raises:
        VectorsError: as `read_vectors`; also for another number of questions.
    """
    raw = z.detach().cpu() if isinstance(z, Tensor) else torch.from_numpy(np.array(z))
    if not raw.is_floating_point():
        raise VectorsError(f"{MEMORY} hold {raw.dtype}; vectors are floating-point numbers")
    rows = len(raw) if raw.dim() > 1 else 1
    if questions is not None and len(questions) != rows:
        raise VectorsError(f"{len(questions)} questions for {rows} rows of vectors; give one for each")
    return _checked(MEMORY, raw.float(), names, {} if questions is None else {"question": list(questions)})


def _checked(
    file: str | Path, raw: Tensor, names: Sequence[str], columns: Mapping[str, list[Any]]
) -> Vectors:
    values = _three_dimensional(file, raw)
    sites = _sites(names, values.shape[1], file)
    _check_finite(file, values, sites)
    questions, answers = (columns.get(name) or [None] * len(values) for name in ("question", "answer"))
    return Vectors(file, values, sites, questions, answers)


def check_width(vectors: Vectors, width: int) -> None:
    """Refuse vectors that the reasoner cannot have had.

    Raises:
        VectorsError: another width.
    """
    if vectors.values.shape[2] != width:
        fix = "name theirs with --reasoner" if isinstance(vectors.file, Path) else "load theirs: reasoner=..."
        raise VectorsError(
            f"{vectors.file}: vectors of width {vectors.values.shape[2]}, the reasoner's have {width}; "
            f"give vectors of that reasoner, or {fix}"
        )


def _numpy(file: Path) -> Tensor:
    loaded = load_array(file, lambda names: _only(file, names))
    if not np.issubdtype(loaded.dtype, np.floating):
        raise VectorsError(f"{file} holds {loaded.dtype}; vectors are floating-point numbers")
    return torch.from_numpy(loaded.astype(np.float32))


def _safetensors(file: Path) -> Tensor:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as tensors:
            tensor: Tensor = tensors.get_tensor(_only(file, list(tensors.keys())))
    except SafetensorError as error:
        raise VectorsError(f"{file} is no safetensors file ({error}); write it anew") from None
    if not tensor.is_floating_point():
        raise VectorsError(f"{file} holds {tensor.dtype}; vectors are floating-point numbers")
    return tensor.float()


def _parquet(file: Path) -> tuple[Tensor, dict[str, list[Any]]]:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    try:
        table = pq.read_table(file)
        table.validate(full=True)  # else a text that is none fails where it is used
    except (pa.ArrowException, OSError) as error:
        raise VectorsError(f"{file} is no Parquet file ({error}); write it anew") from None
    kinds = pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list
    lists = [field.name for field in table.schema if any(kind(field.type) for kind in kinds)]
    rows = table[_only(file, lists)].to_pylist()
    try:
        values = np.array(rows, dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise VectorsError(
            f"{file}: rows differ in shape or are no numbers ({error}); give each row [d] or [K, d]"
        ) from None
    columns = {name: table[name].to_pylist() for name in ("question", "answer") if name in table.column_names}
    for name, cells in columns.items():
        for row, cell in enumerate(cells):
            if cell is not None and not isinstance(cell, str):
                raise VectorsError(
                    f"{file}: row {row}: {name!r} is {cell!r}; give it a string, or no such column"
                )
    return torch.from_numpy(values), columns


def _has(file: str | Path) -> str:
    return "has" if isinstance(file, Path) else "have"


def _option(file: str | Path) -> str:
    """What the user named the sites with."""
    return "--sites" if isinstance(file, Path) else "sites"


def _only(file: Path, names: Sequence[str]) -> str:
    """The array called `vectors`, or the only one."""
    if "vectors" in names:
        return "vectors"
    if len(names) != 1:
        found = ", ".join(names) or "none"
        raise VectorsError(f"{file} must hold one array, or one called 'vectors'; it holds: {found}")
    return names[0]


def _three_dimensional(file: str | Path, raw: Tensor) -> Tensor:
    """[N, K, d] of [d], [N, d] or [N, K, d]."""
    if raw.dim() not in (1, 2, 3) or raw.numel() == 0:
        raise VectorsError(
            f"{file} {_has(file)} shape {list(raw.shape)}; give [d], [N, d] or [N, K, d], none empty"
        )
    rows = raw[None] if raw.dim() == 1 else raw
    return rows[:, None] if rows.dim() == 2 else rows


def _sites(names: Sequence[str], n: int, file: str | Path) -> list[Site]:
    """The sites of the K vectors of a row."""
    sites: list[Site] = []
    for name in names:
        try:
            first = Site.parse(name.removesuffix(".."))
        except ValueError as error:
            raise VectorsError(f"{_option(file)}: {error}") from None
        if first.kind not in ("h", "z") or first.layer is not None:
            raise VectorsError(
                f"{_option(file)} {name}: only h0.. (hidden states) and z0.. (latent inputs) are translated"
            )
        more = n - len(sites) if name.endswith("..") else 1
        sites += [Site(first.kind, first.index + k) for k in range(more)]
    if len(sites) != n or len({site.index for site in sites}) != n:
        raise VectorsError(
            f"{file} {_has(file)} {n} vector{'s' if n > 1 else ''} a row, {_option(file)} names "
            f"{len(sites)}: {' '.join(map(str, sites))}; name each thought once, in order"
        )
    return sites


def _check_finite(file: str | Path, values: Tensor, sites: Sequence[Site]) -> None:
    bad = (~values.isfinite().all(-1)).nonzero()  # [M, 2]
    if len(bad):
        row, place = bad[0].tolist()
        more = f", as in {len(bad) - 1} more" if len(bad) > 1 else ""
        raise VectorsError(
            f"{file}: row {row} ({sites[place]}) holds NaN or an infinite number{more}; leave such rows out"
        )
