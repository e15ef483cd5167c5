"""Arrays in .npy and .npz files; whatever else the bytes are is one line."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reverse_codi.errors import UserError


class ArrayFileError(UserError):
    """A file holds no array; the message names it."""


def load_array(
    file: str | Path, choose: Callable[[Sequence[str]], str], mapped: bool = False
) -> NDArray[Any]:
    """The array of a .npy file, or one of a .npz file.

    Args:
        file: its path.
        choose: picks one of a .npz file's names.
        mapped: leave a .npy file's numbers on disk until they are read.

    Raises:
        FileNotFoundError: no such file.
        ArrayFileError: it is cut, empty, another format, or holds Python objects.
    """
    try:
        loaded = np.load(file, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise _no_array(file, error) from None
    if not isinstance(loaded, np.lib.npyio.NpzFile):
        return np.asarray(loaded)
    name = choose(loaded.files)
    try:
        return np.asarray(loaded[name])
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise _no_array(file, error) from None


def _no_array(file: str | Path, error: Exception) -> ArrayFileError:
    return ArrayFileError(
        f"{file} cannot be read as numbers ({error}); save it with numpy.save or numpy.savez"
    )
