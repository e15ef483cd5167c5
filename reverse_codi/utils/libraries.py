"""What libraries print by themselves: bars and notices, which break logs and mix with results.

They look at the environment once, when they are imported, so this runs before. Processes and Ray actors that
are started later take it over. What the user has set stays.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

# Of huggingface_hub and transformers, of datasets, and of all others that use tqdm, such as GGUF files.
NO_BARS = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",
}
NO_NOTICES = {
    "TRANSFORMERS_VERBOSITY": "error",
    "DATASETS_VERBOSITY": "error",
    "HF_HUB_VERBOSITY": "error",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "WANDB_SILENT": "true",
    "PYTHONWARNINGS": "ignore",
}


@contextmanager
def silenced(*, bars: bool, notices: bool) -> Iterator[None]:
    """Keep libraries that are imported in the block from printing.

    Args:
        bars: progress bars; `tests/contract/test_bars_contract.py` says of which libraries.
        notices: all but errors.
    """
    wanted = (NO_BARS if bars else {}) | (NO_NOTICES if notices else {})
    before = {name: os.environ.get(name) for name in wanted}
    os.environ |= {name: value for name, value in wanted.items() if before[name] is None}
    try:
        yield
    finally:
        _restore(before)


def _restore(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
