from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from reverse_codi.errors import UserError
from reverse_codi.reasoners.sites import Site
from reverse_codi.verbalize.translations.vectors import VectorsError, check_width, read_vectors
from tests.damage import parquet_of_no_text

Z = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float32)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors", ".parquet"])
@pytest.mark.parametrize("shape", [(4,), (5, 4), (5, 3, 4)])
def test_every_format_and_shape_reads_back(tmp_path: Path, suffix: str, shape: tuple[int, ...]) -> None:
    file, values = tmp_path / f"z{suffix}", Z.reshape(-1)[: int(np.prod(shape))].reshape(shape)
    match suffix:
        case ".npy":
            np.save(file, values)
        case ".npz":
            np.savez(file, vectors=values, others=np.zeros(2))
        case ".safetensors":
            save_file({"x": torch.from_numpy(values.copy())}, file)
        case _:
            rows = values[None] if values.ndim == 1 else values
            pq.write_table(pa.table({"x": rows.tolist(), "id": list(range(len(rows)))}), file)
    names = ["z0.."] if len(shape) == 3 else ["z2"]
    read = read_vectors(file, names)
    wanted = torch.from_numpy(values).reshape(-1, len(read.sites), 4)
    assert torch.equal(read.values, wanted)
    assert read.sites == ([Site("z", k) for k in range(3)] if len(shape) == 3 else [Site("z", 2)])
    assert read.questions == read.answers == [None] * len(wanted)
    assert read.sources[0] == f"{file}[0]"


def test_sites_are_named_one_by_one_or_to_the_end(tmp_path: Path) -> None:
    file = tmp_path / "z.npy"
    np.save(file, Z)
    assert list(map(str, read_vectors(file, ["h0", "h2", "h1"]).sites)) == ["h0", "h2", "h1"]
    assert list(map(str, read_vectors(file, ["h1", "z2.."]).sites)) == ["h1", "z2", "z3"]
    assert torch.equal(read_vectors(file, ["h0", "h2", "h1"]).at(Site("h", 2)), torch.from_numpy(Z[:, 1]))


def test_half_precision_is_read_and_questions_of_a_table_are_kept(tmp_path: Path) -> None:
    save_file({"x": torch.ones(2, 4, dtype=torch.bfloat16)}, tmp_path / "z.safetensors")
    assert read_vectors(tmp_path / "z.safetensors", ["z0"]).values.dtype == torch.float32
    table = {
        "vectors": Z[:, 0].tolist(),
        "tags": [["a"]] * 5,
        "question": ["How?"] * 5,
        "answer": ["3", *[None] * 4],
    }
    pq.write_table(pa.table(table), tmp_path / "z.parquet")
    read = read_vectors(tmp_path / "z.parquet", ["z0"])
    assert read.questions == ["How?"] * 5 and read.answers == ["3", None, None, None, None]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["z0"], "has 3 vectors a row, --sites names 1: z0"),
        (["z0", "z1", "z1"], "names 3: z0 z1 z1; name each thought once"),
        (["z0", "h0", "z1"], "name each thought once"),
        (["x0.."], "'x0' is no site"),
        (["answer", "z0", "z1"], "only h0.. "),
        (["h0@1", "z1", "z2"], "only h0.. "),
    ],
)
def test_sites_that_do_not_fit_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    np.save(tmp_path / "z.npy", Z)
    with pytest.raises(VectorsError, match=message):
        read_vectors(tmp_path / "z.npy", names)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_none_are_refused_with_their_row(tmp_path: Path, bad: float) -> None:
    values = Z.copy()
    values[3, 1, 2] = bad
    values[4, 0, 0] = bad
    np.save(tmp_path / "z.npy", values)
    with pytest.raises(VectorsError, match=r"row 3 \(z1\) holds NaN or an infinite number, as in 1 more"):
        read_vectors(tmp_path / "z.npy", ["z0.."])


def test_what_is_no_array_of_vectors_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "ids.npy", np.arange(4))
    np.save(tmp_path / "deep.npy", Z[None])
    np.save(tmp_path / "none.npy", Z[:0])
    np.savez(tmp_path / "two.npz", a=Z, b=Z)
    (tmp_path / "broken.npy").write_text("no array")
    (tmp_path / "empty.npy").touch()
    (tmp_path / "cut.npz").write_bytes((tmp_path / "two.npz").read_bytes()[:200])
    np.savez(tmp_path / "objects.npz", a=np.array([{}], dtype=object))
    pq.write_table(pa.table({"x": Z[:, 0].tolist(), "question": [7] * 5}), tmp_path / "ids.parquet")
    (tmp_path / "broken.safetensors").write_text("no tensors")
    (tmp_path / "broken.parquet").write_text("no table")
    asked = pa.table({"x": Z[:, 0].tolist(), "question": ["why"] + ["?"] * 4})
    parquet_of_no_text(tmp_path / "bytes.parquet", asked, b"why")
    (tmp_path / "z.csv").write_text("1,2")
    pq.write_table(pa.table({"x": [[1.0, 2.0], [1.0]]}), tmp_path / "ragged.parquet")
    for name, message in {
        "ids.npy": "holds int64",
        "deep.npy": r"has shape \[1, 5, 3, 4\]",
        "none.npy": r"has shape \[0, 3, 4\]",
        "two.npz": "it holds: a, b",
        "broken.npy": "cannot be read as numbers",
        "empty.npy": "cannot be read as numbers",
        "cut.npz": "cannot be read as numbers",
        "objects.npz": "cannot be read as numbers",
        "ids.parquet": "row 0: 'question' is 7; give it a string",
        "broken.safetensors": "is no safetensors file",
        "broken.parquet": "is no Parquet file",
        "bytes.parquet": r"is no Parquet file \(.*UTF8",
        "z.csv": "is none of .npy",
        "ragged.parquet": "rows differ in shape",
    }.items():
        with pytest.raises(UserError, match=message):
            read_vectors(tmp_path / name, ["z0"])
    with pytest.raises(FileNotFoundError, match=r"no file .*missing\.npy"):
        read_vectors(tmp_path / "missing.npy", ["z0"])


def test_another_width_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "z.npy", Z)
    with pytest.raises(VectorsError, match="of width 4, the reasoner's have 32"):
        check_width(read_vectors(tmp_path / "z.npy", ["z0.."]), 32)
