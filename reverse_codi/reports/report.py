"""One report: traces, a run, an ablation table, or several of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reverse_codi.reports.ablations import AblationReport
from reverse_codi.reports.records import TraceReport
from reverse_codi.reports.runs import RunReport


@dataclass(frozen=True)
class Report:
    """What one page shows.

    Attributes:
        title: of the page.
        reasoner: whose thoughts they are, in one line; "" where no trace is shown.
        verbalizer: its folder, or "embedded"; "" where no trace is shown.
        traces: of questions, of a trace store, or of a run's held-out problems.
        run: of a training run.
        ablation: of an ablation table.
        notes: what the reader should know, such as why a part is missing.
    """

    title: str
    reasoner: str = ""
    verbalizer: str = ""
    traces: TraceReport | None = None
    run: RunReport | None = None
    ablation: AblationReport | None = None
    notes: Sequence[str] = ()
