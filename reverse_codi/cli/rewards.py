"""Look at reward functions, and try them without training.

    reverse-codi rewards list
    reverse-codi rewards show NAME
    reverse-codi rewards try NAME [--set KEY=VALUE] [--texts FILE] [--traces FOLDER] [--json]

NAME is what a recipe would say: a name of the list, module:function or ./path.py:function.
"""

from __future__ import annotations

import argparse
import inspect
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reverse_codi.cli.output import Output, verb
from reverse_codi.cli.parser import Parser
from reverse_codi.errors import UsageError
from reverse_codi.evaluation.defaults import TRIAL_PROBLEMS
from reverse_codi.utils.arguments import count, positive
from reverse_codi.utils.config import override, validated

if TYPE_CHECKING:
    from reverse_codi.evaluation.reward_trials.bench import TrialSource
    from reverse_codi.evaluation.reward_trials.trial import Trial, Values
    from reverse_codi.rewards.candidates import Candidates
    from reverse_codi.rewards.declare import RewardSpec

# Texts of --texts that are printed; --json has all.
SHOWN = 20


def worst_of(record: RewardSpec) -> str:
    """What a failed text gets."""
    return "the least of a step" if record.worst is None else f"{record.worst:g}"


def list_rewards(out: Output) -> Any:
    """Print the functions of `reward/` and of other packages."""
    from reverse_codi.rewards import registry
    from reverse_codi.utils.tables import Table

    table = Table("name", "worst", "labels", "what it says", texts=["worst", "what it says"])
    records = registry.names() | {name: registry.declared(name) for name in registry.entry_points()}
    for name, record in sorted(records.items()):
        labels = "supervised" if record.supervised else ""
        table.add_row(name, worst_of(record), labels, record.description)
    out.show(table)
    return {
        name: {"worst": record.worst, "supervised": record.supervised, "description": record.description}
        for name, record in sorted(records.items())
    }


def show_reward(name: str, out: Output) -> Any:
    """Print what a function's docstring and options say."""
    from reverse_codi.rewards import registry
    from reverse_codi.rewards.signatures import config_model
    from reverse_codi.utils.tables import Table

    record = registry.declared(name)
    function: Any = record.function
    note = "; supervised: it uses gold labels, for ablations only" if record.supervised else ""
    file = str(inspect.getsourcefile(function))
    texts = [inspect.getdoc(documented) or "" for documented in (function, inspect.getmodule(function))]
    out.show(f"{record.name}, worst {worst_of(record)}{note}", file, *(f"\n{text}" for text in texts))
    model = config_model(record)
    fields = {} if model is None else model.model_fields
    table = Table("option", "default", "what it does", texts=["default", "what it does"])
    for key, field in fields.items():
        default = (
            ""
            if field.is_required()
            else json.dumps(field.get_default(call_default_factory=True), default=str)
        )
        table.add_row(key, default, " ".join((field.description or "").split()))
    out.show(table if fields else "\nno options")
    return {
        "name": record.name,
        "worst": record.worst,
        "supervised": record.supervised,
        "file": file,
        "description": "\n\n".join(texts),
        "options": {key: {"default": default, "description": what} for key, default, what in table.rows},
    }


def show_trial(trial: Trial, out: Output) -> None:
    """Print the distribution over each kind of text, and a warning where gold does not lead."""
    from reverse_codi.evaluation.reward_trials.bench import TextKind
    from reverse_codi.evaluation.reward_trials.trial import Spread
    from reverse_codi.utils.tables import Table

    name, n = trial.reward.name, len(trial.problems)
    title = f"{name} on {n} thoughts of {len(set(trial.problems))} problems"
    table = Table("texts", "applies", "mean", "25 %", "median", "75 %", "gold leads by", title=title)
    for kind, values in trial.values.items():
        spread = Spread.of(values)
        figures = [f"{x:.3f}" for x in (spread.mean, spread.low, spread.median, spread.high)]
        lead = "" if kind is TextKind.GOLD else str(trial.lead(kind))
        table.add_row(kind, f"{spread.n / n:.0%}", *figures, lead)
    out.show(table, verdict(trial))


def verdict(trial: Trial) -> str:
    """What the distribution means for the use of the reward."""
    from reverse_codi.evaluation.reward_trials.bench import TextKind

    name = trial.reward.name
    if all(value is None for value in trial.values[TextKind.GOLD]):
        return f"{name} applies to none of these thoughts (it returned None for all gold texts)."
    if not trial.won_by:
        return f"Gold leads every worthless kind of text: {name} is sensitive to content."
    return (
        f"Warning: {', '.join(trial.won_by)} texts score as well as gold. {name} is not sensitive to "
        "content, or not to all of it: alone it can be won without. Only use it beside a reward that is "
        "(contrastive, hidden_match)."
    )


def show_texts(rows: Candidates, values: Values, out: Output) -> None:
    """Print the given texts with their values."""
    from reverse_codi.evaluation.reward_trials.trial import Spread
    from reverse_codi.utils.tables import Table

    table = Table("site", "text", "value", "question", texts=["text", "value", "question"])
    for row in range(min(SHOWN, len(rows))):
        value = values[row]
        shown = "does not apply" if value is None else f"{value:.3f}"
        table.add_row(str(rows.sites[row]), rows.texts[row], shown, rows.questions[row])
    spread = Spread.of(values)
    left = f" (the first {SHOWN} are shown, --json has all)" if len(rows) > SHOWN else ""
    out.show(table, f"{len(rows)} texts{left}, mean {spread.mean:.3f}; of {spread.n} to which it applies")


def as_json(trial: Trial, given: tuple[Candidates, Values] | None) -> dict[str, Any]:
    """Everything that is printed, and every given text."""
    from reverse_codi.evaluation.reward_trials.bench import TextKind
    from reverse_codi.evaluation.reward_trials.trial import Spread

    kinds = {
        kind: asdict(Spread.of(values))
        | ({} if kind is TextKind.GOLD else {"lead": asdict(trial.lead(kind))})
        for kind, values in trial.values.items()
    }
    found: dict[str, Any] = {
        "reward": trial.reward.name,
        "worst": trial.reward.worst,
        "supervised": trial.reward.supervised,
        "kinds": kinds,
        "won_by": trial.won_by,
    }
    if given is not None:
        rows, values = given
        keys = ("question", "site", "text", "value")
        columns = zip(rows.questions, map(str, rows.sites), rows.texts, values, strict=True)
        found["texts"] = [dict(zip(keys, row, strict=True)) for row in columns]
    return found


def try_reward(
    record: RewardSpec, source: TrialSource, texts: str | None
) -> tuple[Trial, tuple[Candidates, Values] | None]:
    """The trial of a reward and, if there are any, the given texts with their values.

    Raises:
        RewardError: the reward failed, or returned what it may not.
    """
    from reverse_codi.evaluation.reward_trials.bench import Bench
    from reverse_codi.evaluation.reward_trials.texts import texts_of
    from reverse_codi.evaluation.reward_trials.trial import run, score
    from reverse_codi.tasks.records import read_records

    records = None if texts is None else read_records(texts)  # first: a bad line ends it at once
    bench = Bench.of(source)
    rows = None if records is None else texts_of(records, bench)
    trial = run(record, bench)
    return trial, None if rows is None else (rows, score(record, rows, bench))


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi rewards", __doc__, prints=False)
    verbs = made.add_subparsers(dest="verb", required=True, metavar="list|show|try")
    verbs.add_parser("list", help="all reward functions with a name")
    showing = verbs.add_parser("show", help="one of them with its options")
    showing.add_argument("name", metavar="NAME")
    what = "score gold, sampled, worthless and your own texts"
    trying = verbs.add_parser("try", help=what, description=what.capitalize() + ".")
    made.parts = [trying]
    add = trying.add_argument
    add("name", metavar="NAME")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="an option of it")
    add("--texts", metavar="FILE", help="texts to score too, - for standard input")
    add(
        "--traces",
        metavar="FOLDER",
        type=Path,
        help="a trace store with steps; fresh held-out problems if none",
    )
    add("--reasoner", metavar="FOLDER", help="who thinks and reads; the embedded one if none")
    add("--verbalizer", metavar="FOLDER", type=Path, help="its folder; the embedded one if none")
    add("--problems", metavar="N", type=positive, help=f"how many, {TRIAL_PROBLEMS} if not given")
    add("--seed", metavar="N", type=count, help="of problems, samples and shuffled words")
    return made


@verb(parser)
def main(options: argparse.Namespace, out: Output) -> Any:
    """List, show or try."""
    if options.verb == "list":
        return list_rewards(out)
    if options.verb == "show":
        return show_reward(options.name, out)
    from reverse_codi.evaluation.reward_trials.bench import TrialSource
    from reverse_codi.recipe.reward import RewardItem, RewardSection
    from reverse_codi.rewards.registry import find_functions

    given = {key: getattr(options, key) for key in TrialSource.model_fields}
    known = {key: value for key, value in given.items() if value is not None}
    source = validated(TrialSource, known, "command line")
    if bare := [setting for setting in options.set if "=" not in setting]:
        raise UsageError(
            f"--set {bare[0]}: an option of the reward needs a value; write --set {bare[0]}=VALUE"
        )
    settings = override({}, [f"--{setting}" for setting in options.set])
    [record] = find_functions(RewardSection(functions=[RewardItem(name=options.name, options=settings)]))
    trial, texts = try_reward(record, source, options.texts)
    show_trial(trial, out)
    if texts is not None:
        show_texts(*texts, out)
    return as_json(trial, texts)
