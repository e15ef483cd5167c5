"""Standard output for a result alone, for commands whose output is read by programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout


@contextmanager
def kept_for_the_result(wanted: bool = True) -> Iterator[None]:
    """While the block runs, what anyone writes to standard output goes to standard error.

    Libraries print as they are loaded, a user's reward prints, and what is not Python writes to the file
    descriptor. The result is printed after the block.

    Args:
        wanted: False does nothing, for commands that have such an output as an option.
    """
    if not wanted:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
