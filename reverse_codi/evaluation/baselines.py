"""Every control by the name that `--baseline` takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from reverse_codi.evaluation import controls
from reverse_codi.evaluation.exam import Exam
from reverse_codi.evaluation.figures import Figures
from reverse_codi.evaluation.suite.run import evaluate
from reverse_codi.evaluation.suite.said import Writer
from reverse_codi.reading.claims import NO_STEP
from reverse_codi.reading.reconstructor import FILE, Reconstructor, Scale
from reverse_codi.reading.reconstructor_network import ReconstructorSection
from reverse_codi.recipe import Recipe


@dataclass(frozen=True)
class Tools:
    """What controls are made from.

    Attributes:
        exam: what is asked.
        recipe: of the verbalizer's run.
        verbalizer: its folder.
        write: the verbalizer.
        out: where trained controls are kept.
        console: progress.
    """

    exam: Exam
    recipe: Recipe
    verbalizer: Path
    write: Writer
    out: Path
    console: Console

    def reconstructor(self) -> Reconstructor:
        """A reader fitted on the steps of the training traces; loaded where a former run fitted it."""
        subject, folder = self.exam.subject, self.out / "reconstructor"
        if (folder / FILE).is_file():
            return Reconstructor.load(folder, subject.reasoner)
        self.console.print("fitting the reconstructor")
        thoughts = subject.thoughts(subject.train)
        thoughts = thoughts.take([row for row, text in enumerate(thoughts.gold) if text != NO_STEP])
        scales = {
            site: Scale.of(thoughts.targets[[row for row, s in enumerate(thoughts.sites) if s == site]])
            for site in subject.sites
        }
        section = ReconstructorSection()
        fitted = Reconstructor.new(subject.reasoner, scales, section)
        fitted.fit(
            thoughts.gold, thoughts.sites, thoughts.targets, section.steps, section.batch_size, section.seed
        )
        fitted.save(folder)
        return fitted


def _untrained(tools: Tools) -> Mapping[str, Writer]:
    return controls.untrained(tools.exam.subject, tools.write)


NAMES = (
    "gold",
    "empty",
    "constant",
    "question_restated",
    "final_answer",
    "question_solved",
    "logit_lens",
    "linear_probes",
    "nearest_text",
    "shuffled",
)


def baseline(name: str, tools: Tools, reconstructor: Reconstructor) -> Figures:
    """The figures of one control."""
    return evaluate(tools.exam, _untrained(tools)[name], reconstructor=reconstructor)
