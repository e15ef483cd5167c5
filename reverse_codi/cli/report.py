"""Write a report that people read in a browser: one HTML file that needs no network.

Of questions (from the arguments, a file or standard input) and of trace stores it shows every thought: its
translation with match and trust beside controls, logit-lens words, sampled alternatives, and what replacing
it does to the answer. Of a training run (its `train.out`) it shows curves, phase times, memory and sampled
texts, and the same of its held-out traces; the run's trackers keep the page as an artifact. Of the folder of
an ablation table it shows the table.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reverse_codi.cli.output import Output, verb
from reverse_codi.cli.parser import Parser
from reverse_codi.utils.arguments import count, positive


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi report", __doc__)
    add = made.add_argument
    add(
        "what",
        nargs="*",
        metavar="QUESTIONS|TRACES|RUN",
        help="questions, files of them and trace stores; or one folder of a run or of an ablation table; "
        "standard input if nothing is given",
    )
    add("--out", metavar="FILE", type=Path, default=Path("report.html"), help="the page")
    add("--title", metavar="TEXT", help="of the page; by default what it is of")
    add("--traces", metavar="N", type=positive, default=20, help="traces that are shown, the first ones")
    add("--samples", metavar="N", type=count, default=16, help="texts sampled a thought; 0 for none")
    add("--no-effects", action="store_true", help="replace no thoughts: they take most of the time")
    add("--reasoner", metavar="ID", help="folder or hub id; by default what the verbalizer's recipe names")
    add("--verbalizer", metavar="ID", help="folder or hub id; the run's, or the embedded one, if none")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="where model and verbalizer run")
    add("--seed", type=count, default=0, help="of the samples")
    made.add_on_bad_question()
    return made


@verb(parser, aside=True)
def main(options: argparse.Namespace, out: Output) -> Any:
    """Compute a report and write its page."""
    from reverse_codi.reports.artifact import keep_report
    from reverse_codi.reports.make import Wanted, make_report
    from reverse_codi.reports.page import write_report
    from reverse_codi.storage.outputs import check_file

    check_file(options.out, (".html",))
    report = make_report(
        Wanted(
            what=options.what,
            title=options.title,
            traces=options.traces,
            samples=options.samples,
            effects=not options.no_effects,
            reasoner=options.reasoner,
            verbalizer=options.verbalizer,
            device=options.device,
            seed=options.seed,
            on_bad_question=options.on_bad_question,
        )
    )
    write_report(report, options.out)
    if report.run is not None:
        keep_report(Path(report.run.folder), options.out)
    out.show_whole(f"report: {options.out}")
    return {"report": str(options.out)}
