"""From what a user names to a report: questions, trace stores, a run, or an ablation table."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reverse_codi.errors import UserError
from reverse_codi.reasoners.question_checks import understood
from reverse_codi.recipe.reasoner import EMBEDDED
from reverse_codi.recipe.schema import RECIPE_FILE, Recipe
from reverse_codi.recipe.traces import OnBad
from reverse_codi.reports.ablations import ablation_report, is_ablation
from reverse_codi.reports.records import TraceReport
from reverse_codi.reports.report import Report
from reverse_codi.reports.runs import is_run, run_report
from reverse_codi.reports.traces import Rows, asked, task_of, trace_report
from reverse_codi.traces.files import is_store
from reverse_codi.traces.store import TraceStore
from reverse_codi.utils.config import read_yaml, validated
from reverse_codi.utils.console import progress
from reverse_codi.verbalize.config import FILE as VERBALIZER_FILE
from reverse_codi.verbalize.questions import read_questions
from reverse_codi.verbalize.verbalizer import Verbalizer

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a report is of.

    Attributes:
        what: questions, files of them, trace stores; or one folder of a run or of an ablation table.
        title: of the page; None names what it is of.
        traces: most traces that are shown.
        samples: texts sampled a thought.
        effects: whether thoughts are replaced.
        reasoner: its folder; None takes the run's, or the embedded one.
        verbalizer: its folder; None takes the run's, or the embedded one.
        device: where both run.
        seed: of the samples.
        on_bad_question: "error", or "skip" to go without.
    """

    what: Sequence[str] = ()
    title: str | None = None
    traces: int = 20
    samples: int = 16
    effects: bool = True
    reasoner: str | Path | None = None
    verbalizer: str | Path | None = None
    device: str = "cpu"
    seed: int = 0
    on_bad_question: OnBad = "error"


def make_report(wanted: Wanted) -> Report:
    """Compute a report.

    Raises:
        UserError: there is nothing to report, or a run stands beside something else.
    """
    folders = [Path(word) for word in wanted.what if _is_folder(word)]
    if folders and len(wanted.what) > 1:
        raise UserError(
            f"{folders[0]} is the folder of a run or of an ablation table, which a report is of alone; give "
            "it alone, or only questions and trace stores"
        )
    if folders:
        return _of_folder(wanted, folders[0])
    stores = [word for word in wanted.what if is_store(word)]
    questions = [] if stores and len(stores) == len(wanted.what) else read_questions(wanted.what)
    if not questions and not stores:
        raise UserError('nothing to report; write a question in quotes: reverse-codi report "Ann has 12 ..."')
    verbalizer = _load(wanted, wanted.verbalizer or EMBEDDED)
    kept = understood(verbalizer.reasoner, questions, wanted.on_bad_question, "--on-bad-question")
    work = _Work(verbalizer, wanted)
    work.add_questions([each.question for each in kept])
    for name in stores:
        work.add_store(name)
    title = wanted.title or (kept[0].question if len(kept) == 1 and not stores else "What the model thought")
    return Report(title, repr(verbalizer.reasoner), str(wanted.verbalizer or EMBEDDED), work.report())


def _is_folder(word: str) -> bool:
    """Whether a word is the folder of a run or of an ablation table."""
    try:
        folder = Path(word)
        return folder.is_dir() and not is_store(word) and (is_run(folder) or is_ablation(folder))
    except OSError:  # a question too long for a file's name
        return False


def _of_folder(wanted: Wanted, folder: Path) -> Report:
    if not is_run(folder):
        return Report(wanted.title or f"Ablations {folder}", ablation=ablation_report(folder))
    run, notes = run_report(folder), []
    traces, verbalizer = None, None
    store = _heldout(folder)
    if wanted.verbalizer is None and not (folder / "verbalizer" / VERBALIZER_FILE).is_file():
        notes.append("No traces are shown: the run has no verbalizer yet. --verbalizer names another one.")
    elif store is None:
        notes.append(
            "No traces are shown: the run's held-out traces are not where its recipe says. Give a trace "
            "store itself to see its traces."
        )
    else:
        verbalizer = _load(wanted, wanted.verbalizer or folder)
        work = _Work(verbalizer, wanted)
        work.add_store(str(store))
        traces = work.report()
    named = "" if verbalizer is None else str(wanted.verbalizer or folder / "verbalizer")
    shown = "" if verbalizer is None else repr(verbalizer.reasoner)
    return Report(wanted.title or f"Run {folder}", shown, named, traces, run, notes=notes)


def _heldout(folder: Path) -> Path | None:
    """The run's held-out traces: in its folder, which may have been moved, or where its recipe says."""
    if not (folder / RECIPE_FILE).is_file():
        return None
    recipe = validated(Recipe, read_yaml(folder / RECIPE_FILE), str(folder / RECIPE_FILE))
    where = Path(recipe.trace.heldout_out)
    return next((store for store in (folder / where.name, where) if is_store(str(store))), None)


def _load(wanted: Wanted, verbalizer: str | Path) -> Verbalizer:
    return Verbalizer.from_pretrained(verbalizer, wanted.reasoner, wanted.device)


@dataclass
class _Work:
    """Traces as they come, the first ones of them, until there are enough.

    Attributes:
        verbalizer: who translates.
        wanted: how many, and what of each.
        rows: the traces so far.
        given: how many there were.
    """

    verbalizer: Verbalizer
    wanted: Wanted
    rows: list[Rows] = field(default_factory=list)
    given: int = 0

    @property
    def room(self) -> int:
        """How many more are shown."""
        return self.wanted.traces - sum(len(each.given) for each in self.rows)

    def add_questions(self, questions: Sequence[str]) -> None:
        self.given += len(questions)
        if first := questions[: self.room]:
            self.rows.append(Rows.of_questions(self.verbalizer, first))

    def add_store(self, name: str) -> None:
        store = TraceStore.open(name, self.verbalizer.reasoner)
        if not len(store):
            raise UserError(
                f"{name} holds 0 of {store.manifest.rows_expected} traces; collect or import them first"
            )
        self.given += len(store)
        if self.room > 0:
            self.rows.append(Rows.of_store(self.verbalizer, store, name, self.room))

    def report(self) -> TraceReport:
        wanted = self.wanted
        n = sum(len(each.given) for each in self.rows)
        plan = asked(self.verbalizer, n, wanted.samples, wanted.effects)
        left = f"; {self.given - n:,} more are left out (--traces)" if self.given > n else ""
        log.info(
            f"{n:,} traces of {plan.thoughts} thoughts: {plan.written:,} texts to write, up to {plan.read:,} "
            f"to read, {plan.thought:,} chains to think{left}"
        )
        task = task_of(self.verbalizer)
        with progress("traces", n) as advance:
            return trace_report(
                self.verbalizer,
                task,
                self.rows,
                wanted.samples,
                wanted.effects,
                given=self.given,
                progress=advance,
                seed=wanted.seed,
            )
