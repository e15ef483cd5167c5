from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from reverse_codi.errors import UserError
from reverse_codi.storage.disk import DiskError, disk_named
from reverse_codi.storage.files import whole_file, write_whole
from reverse_codi.storage.folders import whole_files, whole_folder
from reverse_codi.storage.json_lines import JsonLog

LIMIT = 64 * 1024
BIG = torch.ones(LIMIT)


@pytest.fixture
def little_room() -> Iterator[None]:
    """Files may have 64 KiB, which the system itself sees to, also where a library writes in C++ or Rust."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def with_torch(file: Path) -> None:
    torch.save(BIG, file)


def with_safetensors(file: Path) -> None:
    save_file({"a": BIG}, file)


def with_numpy(file: Path) -> None:
    with file.open("wb") as opened:
        np.save(opened, BIG.numpy())


def with_parquet(file: Path) -> None:
    pq.write_table(pa.table({"a": np.random.default_rng(0).random(LIMIT)}), file)


@pytest.mark.usefixtures("little_room")
@pytest.mark.parametrize("write", [with_torch, with_safetensors, with_numpy, with_parquet])
def test_whichever_library_writes_the_error_names_the_file_and_the_old_one_stays(write, tmp_path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "a.bin"
    file.write_bytes(b"old")
    with pytest.raises(DiskError) as refused, whole_file(file) as temporary:
        write(temporary)
    assert str(refused.value).startswith(f"{file} cannot be written: ")
    assert "GiB are free" in str(refused.value) and "same command again" in str(refused.value)
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.usefixtures("little_room")
def test_a_folder_and_files_into_a_folder_likewise(tmp_path: Path) -> None:
    folder = tmp_path / "best"
    folder.mkdir()
    (folder / "old").touch()
    for writing in (whole_folder, whole_files):
        with pytest.raises(DiskError, match=f"^{folder} cannot be written"), writing(folder) as temporary:
            write_whole(temporary / "small", "fits")
            write_whole(temporary / "large", "x" * 2 * LIMIT)
        assert [entry.name for entry in folder.iterdir()] == ["old"]
        assert list(tmp_path.iterdir()) == [folder]


def test_a_log_that_fills_the_disk_names_itself_and_goes_on_afterwards(
    little_room: None, tmp_path: Path
) -> None:
    log = JsonLog(tmp_path / "metrics.jsonl")
    log.write({"step": 1})
    with pytest.raises(DiskError, match=r"metrics\.jsonl cannot be written: File too large"):
        log.write({"step": 2, "text": "x" * 2 * LIMIT})
    again = JsonLog(tmp_path / "metrics.jsonl")  # cuts what was half written
    again.write({"step": 2})
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1}\n{"step": 2}\n'


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), errno.ENOSPC),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), errno.EDQUOT),
        (RuntimeError("I/O error: No space left on device (os error 28)"), errno.ENOSPC),
        (OSError("[Errno 28] Error writing bytes to file"), errno.ENOSPC),
        (RuntimeError("basic_ios::clear: iostream error"), errno.EIO),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0"), errno.EIO),
    ],
)
def test_the_reason_is_found_wherever_a_library_puts_it(
    error: Exception, number: int, tmp_path: Path
) -> None:
    said = f"^{tmp_path}/a cannot be written: "
    with pytest.raises(DiskError, match=said) as refused, disk_named(tmp_path / "a"):
        raise error
    assert refused.value.errno == number
    assert isinstance(refused.value, UserError) and isinstance(refused.value, OSError)
    assert refused.value.__cause__ is error


@pytest.mark.parametrize("error", [ValueError("no"), FileNotFoundError(2, "x"), OSError("full"), UserError()])
def test_other_errors_stay_as_they_are(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(error)) as raised, disk_named(tmp_path / "a"):
        raise error
    assert raised.value is error
