"""Questions of a user's file that the reasoner cannot be asked: refused before work, or skipped."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from reverse_codi.cli.trace import main as trace_main
from reverse_codi.cli.trace import trace
from reverse_codi.evaluation.thoughtless import mean_thoughts
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.distill.data import ProblemRows
from reverse_codi.reasoners.distill.run import distill, fitting
from reverse_codi.reasoners.question_checks import QuestionError
from reverse_codi.recipe.distill import DistillSection
from reverse_codi.recipe.schema import Recipe
from reverse_codi.tasks import Split, make_task
from reverse_codi.tasks.jsonl import JsonLines
from reverse_codi.traces.store import StoreError, TraceStore
from reverse_codi.training.preflight import check_traces
from reverse_codi.utils.command import run_verb
from reverse_codi.utils.log import show_log
from tests.bases import make_base
from tests.fakes import output
from tests.tiny import make_problems

LONG = "cups " * 2_500


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Four problems, the third of which is longer than any model here, the last of unknown words."""
    texts = [problem.question for problem in make_problems(2)] + [LONG, "Ann has 9.5 zebras."]
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps({"question": text, "answer": 3}) + "\n\n" for text in texts))
    return path


def recipe_of(source: Path, folder: Path, out: Path, **trace_keys: object) -> Recipe:
    # All four are in the held-out side: a hash decides, and 99 % are asked for.
    task = {"name": "jsonl", "path": str(source), "options": {"heldout_percent": 99}}
    section = {"out": str(out), "split": "heldout", "n": 4, "shard_rows": 2, "batch_size": 1}
    return Recipe.model_validate(
        {"task": task, "reasoner": {"path": str(folder)}, "trace": {**section, **trace_keys}}
    )


def test_a_problem_knows_its_line_and_is_the_same_without(source: Path) -> None:
    problems = make_task("jsonl", source=str(source), heldout_percent=99).problems(Split.HELDOUT, 4, 0)
    lines = {problem.where.removeprefix(f"{source}:") for problem in problems}
    assert lines == {"1", "3", "5", "7"}
    moved = JsonLines(source=str(source), heldout_percent=99).problems(Split.HELDOUT, 4, 0)
    assert moved == problems
    assert make_problems(1)[0].where == ""


def test_a_question_that_does_not_fit_is_refused_before_any_work(
    source: Path, tiny_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "traces"
    recipe = recipe_of(source, tiny_folders[0], out)
    with pytest.raises(
        QuestionError, match=r"own\.jsonl:5: the question has 2500 tokens; 240 fit.*on_bad_question to skip"
    ):
        trace(recipe, output())
    assert not out.exists()


def test_skipped_questions_make_fewer_traces(
    source: Path, tiny_reasoner: CodiReasoner, tiny_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "traces"
    console = show_log(Console(file=io.StringIO(), width=100))
    recipe = recipe_of(source, tiny_folders[0], out, on_bad_question="skip")
    store = trace(recipe, output(console))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert printed.count("1 of 4 questions skipped:") == 1 and "own.jsonl:5: the question has 2500" in printed
    assert "1 of 3 questions hold words or numbers unknown to the model" in printed
    assert "own.jsonl:7" in printed
    assert store.complete and len(store) == 3 and LONG not in store.questions
    asked = [question for question in store.questions if "zebras" not in question]
    chains = tiny_reasoner.think(asked)
    rows = [store.questions.index(question) for question in asked]
    assert store.hidden_states[rows].allclose(chains.hidden_states, atol=1e-5)
    assert trace(recipe, output(console)).questions == store.questions  # called again, nothing is left to do
    assert len(TraceStore.open(out, tiny_reasoner)) == 3
    check_traces(recipe)  # a run that skips, too, goes on with this store
    with pytest.raises(StoreError, match="holds 3 traces of other settings"):
        check_traces(recipe_of(source, tiny_folders[0], out, on_bad_question="error"))


def test_the_key_is_no_other_recipe_for_traces(source: Path, tmp_path: Path) -> None:
    plain, skipping = (recipe_of(source, tmp_path, tmp_path, on_bad_question=x) for x in ("error", "skip"))
    assert plain.trace_hash == skipping.trace_hash
    assert plain.trace_hash != recipe_of(source, tmp_path, tmp_path, seed=9).trace_hash


def test_means_are_of_the_questions_that_can_be_asked(source: Path, tiny_reasoner: CodiReasoner) -> None:
    task = make_task("jsonl", source=str(source), heldout_percent=1)
    asked = [p.question for p in task.problems(Split.TRAIN, 4, 0) if p.question != LONG]
    expected = tiny_reasoner.think(asked).latent_inputs.mean(0)
    assert mean_thoughts(tiny_reasoner, task, 0, 4).allclose(expected, atol=1e-5)


def test_distillation_refuses_or_skips_what_its_base_cannot_hold(
    source: Path, tiny_reasoner: CodiReasoner, tmp_path: Path
) -> None:
    make_base(tmp_path / "base")
    keys = {"out": str(tmp_path / "out"), "base": str(tmp_path / "base"), "n_thoughts": 2, "n_problems": 4}
    recipe = Recipe.model_validate(
        {
            "task": {"name": "jsonl", "path": str(source), "options": {"heldout_percent": 1}},
            "distill": keys,
            "log": {"report_to": []},
        }
    )
    named = r"own\.jsonl:5: question, thoughts and solution have 25\d\d tokens; the base has 2048 positions"
    with pytest.raises(QuestionError, match=named + ", or set distill.on_bad_question to skip"):
        distill(recipe)
    problems = recipe.task.build().problems(Split.TRAIN, 4, 0)
    section = DistillSection(n_thoughts=2, on_bad_question="skip")
    rows = ProblemRows(problems, tiny_reasoner.tokenizer, tiny_reasoner.config)
    kept, left = fitting(problems, rows, tiny_reasoner, section)
    assert [p.question for p in kept] == [p.question for p in problems if p.question != LONG]
    assert left.rows == ProblemRows(kept, tiny_reasoner.tokenizer, tiny_reasoner.config).rows


def test_lengths_are_of_the_longest_sequence(tiny_reasoner: CodiReasoner) -> None:
    [row] = ProblemRows(make_problems(1), tiny_reasoner.tokenizer, tiny_reasoner.config).rows
    q, s, t, a = len(row.question), len(row.steps), len(row.totals), len(row.answer)
    assert row.length(1, staged=False) == q + max(s, t) + a
    assert row.length(100, staged=False) == q + 102 + a  # bot, thoughts, eot
    assert row.length(100, staged=True) == q + 102 + max(s, t) + a


LIBRARY = """
import sys
from transformers.utils.logging import disable_progress_bar
from reverse_codi.reasoners.load import load_reasoner
from reverse_codi.recipe.schema import Recipe
from reverse_codi.tasks import Split
from reverse_codi.traces.collect import TraceRequest, collect

disable_progress_bar()
recipe = Recipe.model_validate_json(sys.argv[1])
asked = TraceRequest.of_training(recipe, Split.HELDOUT, 4, 1, sys.argv[2])
assert len(collect(load_reasoner(recipe.reasoner), recipe.task.build(), asked)) == 3
"""


@pytest.mark.long
def test_a_library_shows_its_warnings_as_logging_does_and_prints_nothing(
    source: Path, tiny_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "traces"
    recipe = recipe_of(source, tiny_folders[0], out, on_bad_question="skip")
    command = [sys.executable, "-c", LIBRARY, recipe.model_dump_json(), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert done.stderr.count("questions skipped") == 1  # `logging` shows warnings where nobody configured it


def test_a_verb_prints_each_notice_once(
    source: Path, tiny_folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = recipe_of(source, tiny_folders[0], tmp_path / "traces", on_bad_question="skip")
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe.model_dump_json())  # JSON is YAML
    run_verb(lambda: trace_main([str(file)]))
    printed = capsys.readouterr()
    for notice in ("questions skipped", "words or numbers unknown", "3 traces in"):
        assert (printed.out.count(notice), printed.err.count(notice)) == (1, 0), notice
