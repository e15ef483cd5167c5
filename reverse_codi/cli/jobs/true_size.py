"""A recipe for a public checkpoint, stage by stage: random weights of its true size, fewer of everything.

Each stage is the command that a user would type, in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from reverse_codi.cli.output import Output
from reverse_codi.errors import UserError
from reverse_codi.evaluation.defaults import Size
from reverse_codi.processes.process_memory import Peaks, watched
from reverse_codi.recipe.schema import Recipe, load_recipe
from reverse_codi.storage.folders import whole_folder
from reverse_codi.storage.lock import check_free
from reverse_codi.training.stage_folders import READING
from reverse_codi.utils.tables import Table

T = TypeVar("T")

# Problems of the evaluation, thoughts that retrieval is measured on, and steps of a problem of GSM8K, each of
# which a thought may hold.
PROBLEMS, RETRIEVED, STEPS = 16, 8, 3.3
RESULT = "true_size.json"
PLANTED = "(steps planted)"
REASONER = "reasoner"
"""A link to the converted checkpoint, beside the folder of the run."""
QUESTION = "Ann has 12 apples. She buys 5 more and then doubles them. How many apples does she have?"
# Words of a stage's log with which a part of it begins.
WARM, GRPO, FIGURES = "warm start", "GRPO", "figures"
PARTS = {
    "the model writes its steps": "own written steps",
    "probing which steps": "probes",
    "fitting the maps": "maps",
    "warm start (": WARM,
    "held-out after 0 steps": GRPO,
    "to evaluate: ": FIGURES,
}


@dataclass(frozen=True)
class Key:
    """One key that the run sets.

    Attributes:
        name: with its section.
        value: as on the command line.
        why: in a few words.
    """

    name: str
    value: str
    why: str


@dataclass(frozen=True)
class Stage:
    """One command.

    Attributes:
        verb: of `reverse-codi`.
        words: of its own, behind the recipe's keys.
        times: how many times as much the recipe asks of its parts, by the parts' names; "" is the first part.
        takes: "recipe" with the run's keys, a folder instead, or None for neither.
    """

    verb: str
    words: Sequence[str] = ()
    times: Mapping[str, float] = field(default_factory=dict)
    takes: str | None = "recipe"

    def command(self, recipe: Sequence[str]) -> list[str]:
        """The words after `reverse-codi`, with those that name a recipe and its keys."""
        if self.takes == "recipe":
            return [self.verb, *recipe, *self.words]
        return [self.verb, *([self.takes] if self.takes else []), *self.words]


@dataclass(frozen=True)
class Part:
    """What a part of a stage took.

    Attributes:
        stage: its stage.
        name: of the part; "" for the first.
        seconds: wall time.
        times: how many times as much the recipe asks; 1 where its counts do not matter.
        peaks: memory, of each process and of all together.
    """

    stage: str
    name: str
    seconds: float
    times: float
    peaks: Peaks


def in_own_process(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function where its memory goes back to the system."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def stages(recipe: Recipe, asked: Recipe, writes: int) -> list[Stage]:
    """The commands, in order.

    Args:
        recipe: as the run has it.
        asked: as its file has it.
        writes: number of training questions that the model solves in writing.
    """
    out = Path(recipe.train.out)
    prepare, evaluation = str(out.with_name("prepare")), str(out.with_name("evaluate"))
    fitted = min(asked.trace.n, asked.reading.traces or asked.trace.n) / recipe.trace.n
    written = asked.trace.n / max(1, writes)
    warm, texts = (one / other for one, other in zip(_work(asked), _work(recipe), strict=True))
    untrained = ["--warm_start.steps", "0", "--grpo.steps", "0", "--train.out", prepare]
    size = [
        "--problems",
        str(PROBLEMS),
        "--wrong",
        "8",
        "--pairs",
        "8",
        "--retrieval",
        str(RETRIEVED),
        "--no-baselines",
        "--no-reconstructor",
    ]
    # At most: retrieval grows with its thoughts, other figures with the problems.
    more = {"": Size().problems / PROBLEMS, FIGURES: Size().problems * STEPS / RETRIEVED}
    who = ["--reasoner", str(out.with_name(REASONER)), "--verbalizer", str(out / "verbalizer")]
    return [
        Stage("checkpoint"),
        Stage("trace", times={"": asked.trace.n / recipe.trace.n}),
        Stage("train", untrained, {"own written steps": written, "probes": fitted, "maps": fitted}),
        Stage("train", ["--grpo.steps", "0"], {WARM: warm}),
        Stage("train", [], {GRPO: texts}),
        Stage("verbalize", [QUESTION, *who], takes=None),
        Stage("evaluate", ["--out", evaluation, *size], more, takes=str(out)),
    ]


def _work(recipe: Recipe) -> tuple[int, int]:
    """Thoughts shown in the warm start, and texts sampled in GRPO."""
    warm, grpo = recipe.warm_start, recipe.grpo
    return max(1, warm.steps) * warm.batch_size, max(1, grpo.steps) * grpo.thoughts_per_step * grpo.samples


def run_command(words: Sequence[str], log: Path, out: Output) -> list[tuple[str, float, Peaks]]:
    """Run `reverse-codi` with these words, show what it says, and measure it part by part.

    Returns:
        Name, seconds and memory of each part; the first has no name.

    Raises:
        UserError: it failed; names the log.
    """
    environment = os.environ | {"RAY_ADDRESS": "local", "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore"}
    log.parent.mkdir(parents=True, exist_ok=True)
    parts: list[tuple[str, float, Peaks]] = []
    with (
        log.open("w") as file,  # a log: what it said before it was stopped is all that it is for
        subprocess.Popen(
            [sys.executable, "-m", "reverse_codi.cli", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        ) as process,
        watched(process.pid) as taken,
    ):
        assert process.stdout is not None
        name, began = "", time.perf_counter()
        for line in process.stdout:
            if found := next((part for start, part in PARTS.items() if line.startswith(start)), None):
                parts.append((name, time.perf_counter() - began, taken()))
                name, began = found, time.perf_counter()
            file.write(line)
            out.note(f"  {line.rstrip()}")
        code = process.wait()
        parts.append((name, time.perf_counter() - began, taken()))
    if code:
        raise UserError(f"`reverse-codi {words[0]}` ended with status {code}; what it said is in {log}")
    return parts


def run_all(
    word: str, keys: Sequence[Key], plant: Callable[[Recipe, int], Path], writes: int, out: Output
) -> Iterator[Part]:
    """Every stage, measured; a second call begins anew, but for the weights and their conversion.

    Args:
        word: the recipe's name or file.
        keys: what lies over it.
        plant: puts content into the thoughts once they are there, see `evaluation.true_size.plant`.
        writes: number of training questions that the model solves in writing.
        out: shows what they say.

    Raises:
        UserError: a stage failed; those before it have been yielded.
    """
    words = [word, *(part for key in keys for part in (f"--{key.name}", key.value))]
    recipe, asked = load_recipe(words), load_recipe([word])
    run = Path(recipe.train.out)
    check_free(run, "train.out")
    prepare, logs, reasoner = (run.with_name(name) for name in ("prepare", "logs", REASONER))
    for folder in (run, prepare, logs, run.with_name("evaluate"), recipe.trace.out, recipe.trace.heldout_out):
        shutil.rmtree(folder, ignore_errors=True)
    for number, stage in enumerate(stages(recipe, asked, writes), start=1):
        name, of_recipe = f"{number}. {stage.verb}", stage.takes == "recipe"
        out.note(f"\n{name}")
        said = stage.command([f"{word} (and the keys above)"]) if of_recipe else stage.command([])
        out.note(f"reverse-codi {' '.join(said)}")
        parts = run_command(stage.command(words), logs / f"{number}-{stage.verb}.log", out)
        yield from (Part(name, of, seconds, stage.times.get(of, 1.0), peaks) for of, seconds, peaks in parts)
        if stage.verb == "trace":
            began = time.perf_counter()
            with watched(os.getpid()) as taken:
                converted = in_own_process(plant, recipe, writes)
                yield Part(PLANTED, "", time.perf_counter() - began, 1.0, taken())
            reasoner.unlink(missing_ok=True)
            reasoner.symlink_to(converted.resolve())
        if (prepare / READING).is_dir() and not (run / READING).is_dir():
            with whole_folder(run / READING) as temporary:
                shutil.copytree(prepare / READING, temporary, dirs_exist_ok=True)


def shown(parts: Sequence[Part]) -> list[Table]:
    """Seconds of each part with the recipe's counts beside them, and the memory of each stage's processes."""
    times = Table("stage", "part", "seconds", "recipe's counts", "then hours", title="time")
    for part in parts:
        hours = part.seconds * part.times / 3600
        times.add_row(part.stage, part.name, f"{part.seconds:.0f}", f"x {part.times:,.4g}", f"{hours:.2f}")
    total = sum(part.seconds for part in parts)
    whole = sum(part.seconds * part.times for part in parts) / 3600
    times.add_row("all", "", f"{total:.0f}", f"x {whole * 3600 / total:,.4g}", f"{whole:.1f}")
    memory = Table(
        "stage", "process", "peak, GiB (VmHWM)", "its share (PSS)", title="memory", texts=["process"]
    )
    for stage in dict.fromkeys(part.stage for part in parts):
        of = [part.peaks for part in parts if part.stage == stage]
        merged = Peaks(total=max(peaks.total for peaks in of))
        for peaks in of:
            for pid, peak in peaks.processes.items():
                known = merged.processes.setdefault(pid, peak)
                known.name = peak.name
                known.resident = max(known.resident, peak.resident)
                known.share = max(known.share, peak.share)
        for peak in merged.by_name():
            memory.add_row(stage, peak.name, f"{peak.resident:.2f}", f"{peak.share:.2f}")
        memory.add_row(stage, "all at one moment", "", f"{merged.total:.2f}")
    return [times, memory]


def as_record(parts: Sequence[Part], keys: Sequence[Key]) -> dict[str, Any]:
    """What true_size.json holds."""
    return {
        "keys": [asdict(key) for key in keys],
        "parts": [
            {
                **{name: value for name, value in vars(part).items() if name != "peaks"},
                "total_gib": part.peaks.total,
                "processes": [asdict(peak) for peak in part.peaks.by_name()],
            }
            for part in parts
        ],
        "seconds": sum(part.seconds for part in parts),
        "peak_gib": max(part.peaks.total for part in parts),
    }
