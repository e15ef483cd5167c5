"""Cold starts: what a user waits for a command, a process each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import Row, Side
from benchmarks.setting import Setting

OURS, LIBRARIES = "import reverse_codi; reverse_codi.Verbalizer", "import torch, transformers, peft"
QUESTION = "Umar owns 9 cups. Then he picks 3 more. How many cups are left?"


@contextmanager
def startup(at: Setting, work: Path) -> Iterator[Row]:
    """Commands from cold; the files are in the machine's cache after the first run."""

    def command(*words: str) -> None:
        subprocess.run([sys.executable, *words], check=True, capture_output=True)

    cli = ("-m", "reverse_codi.cli")
    yield Row(
        "startup",
        "s",
        [
            Side("verbalize a question", lambda: command(*cli, "verbalize", QUESTION)),
            Side("--help", lambda: command(*cli, "--help")),
            Side("import reverse_codi", lambda: command("-c", OURS)),
            Side(
                "import torch, transformers and peft",
                lambda: command("-c", LIBRARIES),
            ),
        ],
        figures={
            "verbalize.cold_seconds": "verbalize a question",
            "help.seconds": "--help",
            "import.seconds": "import reverse_codi",
            "libraries.seconds": "import torch, transformers and peft",
        },
    )
