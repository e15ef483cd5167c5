from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from reverse_codi.cli.ablate import main, tables
from reverse_codi.cli.jobs import ablation as ablate
from reverse_codi.cli.jobs.ablation import Ablation, made_from, read_ablation, recipe_of, run_row
from reverse_codi.errors import RecipeError
from reverse_codi.evaluation.defaults import AMONG, Size
from reverse_codi.evaluation.evaluate import Evaluated, EvaluationRequest
from reverse_codi.recipe.reinforce import Stage
from reverse_codi.recipe.schema import Recipe
from reverse_codi.storage.stages import StageError, record
from reverse_codi.utils.config import validated
from reverse_codi.utils.tables import Table

ROOT = Path(__file__).parents[3]
TABLES = sorted((ROOT / "recipes").glob("ablation*.yaml"))
SILENT = Console(quiet=True)
FIGURE = {"value": 0.9, "low": 0.88, "high": 0.92, "n": 300}


def make_ablation(folder: Path, **rows: dict[str, Any]) -> Ablation:
    base = folder / "base.yaml"
    base.write_text(
        f"trace: {{n: 600, out: {folder / 'traces'}}}\ngrpo: {{steps: 5}}\nreading: {{framed: 0.5}}\n"
    )
    values = {
        "recipe": str(base),
        "size": {"problems": 70, "wrong": 9, "pairs": 8},
        "set": {"grpo.steps": 0, "log.report_to": []},
        "rows": {name: {"why": name, **row} for name, row in rows.items()},
    }
    return validated(Ablation, values, "table")


def finished(out: Path, name: str, figures: dict[str, Any]) -> None:
    folder = out / name / "evaluation"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(figures))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names the folders that would have been trained in."""
    folders: list[str] = []

    def train(recipe: Any, resume: bool) -> Path:
        assert resume
        folders.append(Path(recipe.train.out).parent.name)
        for part in ("reading", "warm"):
            path = Path(recipe.train.out) / part
            path.mkdir(parents=True, exist_ok=True)
            if not (path / "made_by").is_file():
                (path / "made_by").write_text(folders[-1])
        return Path(recipe.train.out) / "verbalizer"

    def evaluate(evaluated: Evaluated, request: EvaluationRequest) -> None:
        out = request.out
        size = Size(problems=70, wrong=9, pairs=8)
        # A row is compared with rows alone.
        assert request == EvaluationRequest(out=out, size=size, reconstruct=False)
        assert evaluated.verbalizer == out.parent / "train" / "verbalizer"
        assert evaluated.recipe.train.out == str(out.parent / "train")
        out.mkdir(parents=True)
        (out / "metrics.json").write_text(json.dumps({"operation": FIGURE}))

    monkeypatch.setattr(ablate, "train", train)
    monkeypatch.setattr(ablate, "run", evaluate)
    return folders


def test_a_row_lies_over_the_table_and_the_table_over_the_base(tmp_path: Path) -> None:
    made = {
        "main": {},
        "other": {
            "set": {"grpo.steps": 7, "reading.spec.point": "last", "reward.functions": [{"name": "x"}]}
        },
    }
    ablation = make_ablation(tmp_path, **made)
    main, other = (recipe_of(ablation, name, tmp_path / name) for name in made)
    assert (main.trace.n, main.grpo.steps, main.reading.framed, main.log.report_to) == (600, 0, 0.5, [])
    assert main.train.out == str(tmp_path / "main" / "train")
    assert (other.grpo.steps, other.reading.spec.point, other.reading.framed) == (7, "last", 0.5)
    assert [item.name for item in other.reward.functions] == ["x"]
    assert other.train.out == str(tmp_path / "other" / "train")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"grpo.stepz": 3}, r"row 'odd': unknown key 'grpo\.stepz'; did you mean 'grpo\.steps'"),
        ({"grpo.steps": "many"}, r"row 'odd': grpo\.steps = 'many'"),
        ({"reading.framed": 2}, r"row 'odd': reading\.framed = 2"),
    ],
)
def test_a_key_that_does_not_fit_is_reported_with_its_row(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe_of(make_ablation(tmp_path, odd={"set": changed}), "odd", tmp_path)


def test_a_misspelt_field_of_a_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"unknown key 'rows.*afterwards"):
        make_ablation(tmp_path, odd={"afterwards": "main"})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"odd": {"after": "mane"}, "main": {}}, "row 'odd' needs 'mane', which is no row above it"),
        ({"rl": {"after": "main"}, "main": {}}, "row 'rl' needs 'main', which is no row above it"),
        ({"odd": {"read_by": "mane"}}, "row 'odd' needs 'mane', which is no row above it"),
        ({"rl": {"after": "rl"}}, "row 'rl' needs 'rl', which is no row above it"),
        (
            {"rl": {"takes": ["search"]}},
            "row 'rl' takes a search and names no row that made it; give `after`",
        ),
    ],
)
def test_a_row_after_no_row_above_it_is_refused_with_the_table(
    tmp_path: Path, rows: dict[str, dict[str, Any]], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        make_ablation(tmp_path, **rows)


def test_a_table_that_asks_too_few_problems_or_takes_what_there_is_not_is_refused(tmp_path: Path) -> None:
    values = make_ablation(tmp_path, main={}).model_dump()
    with pytest.raises(RecipeError, match=r"table: size\.problems = 15: .*greater than or equal to 16"):
        validated(Ablation, values | {"size": {"problems": 15}}, "table")
    with pytest.raises(RecipeError, match=r"table: rows\.rl\.takes\.0 = 'cold'"):
        make_ablation(tmp_path, main={}, rl={"after": "main", "takes": ["cold"]})


def test_another_device_or_memory_is_the_same_row(tmp_path: Path) -> None:
    where = {"rollout.engine.device": "cuda", "rollout.engine.max_sequences": 7, "reasoner.device": "cuda"}
    ablation = make_ablation(
        tmp_path, main={}, other={"set": where}, dtype={"set": {"rollout.engine.dtype": "float16"}}
    )
    assert made_from(ablation, "other") == made_from(ablation, "main") != made_from(ablation, "dtype")


def test_a_finished_row_is_read_and_not_run_again(tmp_path: Path, trained: list[str]) -> None:
    ablation = make_ablation(tmp_path, main={}, rl={"after": "main"})
    record(tmp_path / "out" / "main", made_from(ablation, "main"))
    finished(tmp_path / "out", "main", {"operands": FIGURE})
    console = SILENT
    assert run_row(ablation, "main", tmp_path / "out", console) == {"operands": FIGURE}
    assert trained == []


def test_a_row_whose_settings_changed_is_refused_and_so_are_the_rows_after_it(
    tmp_path: Path, trained: list[str]
) -> None:
    run_row(make_ablation(tmp_path, main={}, rl={"after": "main"}), "rl", tmp_path, SILENT)
    changed = make_ablation(tmp_path, main={"set": {"warm_start.steps": 7}}, rl={"after": "main"})
    for name, key in (("main", r"warm_start\.steps"), ("rl", r"after\.warm_start\.steps")):
        with pytest.raises(StageError, match=rf"{name} was made with {key} = \d+, now 7"):
            run_row(changed, name, tmp_path, SILENT)
    assert trained == ["main", "rl"]


def test_a_row_starts_from_the_maps_and_the_warm_start_of_the_one_before(
    tmp_path: Path, trained: list[str]
) -> None:
    ablation, out = make_ablation(tmp_path, main={}, rl={"after": "main"}), tmp_path / "out"
    assert run_row(ablation, "rl", out, SILENT) == {"operation": FIGURE}
    assert trained == ["main", "rl"]
    for part in ("reading", "warm"):
        assert (out / "rl" / "train" / part / "made_by").read_text() == "main"
    run_row(ablation, "rl", out, SILENT)
    run_row(ablation, "main", out, SILENT)
    assert trained == ["main", "rl"]


def test_a_row_that_reads_whole_traces_is_examined_with_the_maps_of_another(
    tmp_path: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    examined: dict[str, Path | None] = {}
    run = ablate.run

    def recorded(evaluated: Evaluated, request: EvaluationRequest) -> None:
        examined[request.out.parent.name] = evaluated.reading
        run(evaluated, request)

    monkeypatch.setattr(ablate, "run", recorded)
    ablation, out = make_ablation(tmp_path, main={}, answer={"read_by": "main"}), tmp_path / "out"
    run_row(ablation, "answer", out, SILENT)
    assert examined == {"main": None, "answer": out / "main" / "train" / "reading"}
    assert (out / "answer" / "train" / "reading" / "made_by").read_text() == "answer"


@pytest.mark.parametrize(
    ("takes", "reading", "warm"),
    [(["reading"], "main", "other"), (["warm"], "other", "main"), ([], "other", "other")],
)
def test_a_row_takes_over_what_it_says_and_makes_the_rest(
    tmp_path: Path, trained: list[str], takes: list[str], reading: str, warm: str
) -> None:
    rows = {"main": {}, "other": {"after": "main", "takes": takes}, "last": {"after": "other"}}
    ablation, out = make_ablation(tmp_path, **rows), tmp_path / "out"
    run_row(ablation, "last", out, SILENT)
    assert trained == ["main", "other", "last"]  # a row after a row that comes after another
    for name in ("other", "last"):
        made = {part: (out / name / "train" / part / "made_by").read_text() for part in ("reading", "warm")}
        assert made == {"reading": reading, "warm": warm}, name


def test_the_verb_runs_all_rows_once_and_prints_a_line_each(
    tmp_path: Path, trained: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    ablation = make_ablation(tmp_path, main={}, rl={"after": "main"}, plain={})
    file, out = tmp_path / "table.yaml", tmp_path / "out"
    file.write_text(ablation.model_dump_json())  # JSON is YAML
    main([str(file), "--out", str(out), "--row", "plain"])
    assert trained == ["plain"]
    main([str(file), "--out", str(out)])
    assert trained == ["plain", "main", "rl"]
    printed = capsys.readouterr().out
    for name in ("main", "rl", "plain"):
        assert name in printed.split()
    assert "0.900 ±0.020" in printed
    with pytest.raises(RecipeError, match="no row is named 'mein'; there are main, rl, plain"):
        main([str(file), "--out", str(out), "--row", "mein"])


def test_a_figure_that_was_not_counted_is_an_empty_cell() -> None:
    nothing = {"value": None, "low": None, "high": None, "n": 0}
    [shown] = tables({"main": {"operation": FIGURE, "operands": nothing}, "rl": {"operation": FIGURE}})
    assert isinstance(shown, Table) and shown.columns == ["figure", "main", "rl"]
    assert shown.rows == [["operands", "", ""], ["operation", "0.900 ±0.020", "0.900 ±0.020"]]


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_every_row_of_the_tables_in_the_package_resolves(path: Path) -> None:
    ablation = read_ablation(path)
    recipes = {name: recipe_of(ablation, name, Path("out") / name) for name in ablation.rows}
    assert ablation.size.problems >= AMONG
    assert len({recipe.model_dump_json() for recipe in recipes.values()}) == len(
        recipes
    )  # no row asks what another does
    for name, row in ablation.rows.items():
        recipe = recipes[name]
        assert row.why
        assert row.takes
        # What is taken over must have been made: training that begins anew has no RL, unless a row lists it.
        goes_on = "warm" in row.takes and (row.after is not None or ablation.start is not None)
        assert bool(recipe.stages) == (goes_on or bool(recipe.reinforce)), name
        if row.after is not None:
            before = recipes[row.after]
            assert recipe.reasoner == before.reasoner, name
            # What is taken over is not made again, so a key that changes it would say what is not so.
            if "reading" in row.takes:
                assert recipe.reading == before.reading, name
            if "search" in row.takes:
                assert searches(recipe) == searches(before) != [], name


def searches(recipe: Recipe) -> list[Stage]:
    return [stage for stage in recipe.stages if stage.kind == "search"]


def test_a_row_that_would_fail_is_refused_before_the_first_is_trained(tmp_path: Path) -> None:
    rows: dict[str, dict[str, Any]] = {"one": {}, "three": {"after": "one"}}
    rows["two"] = {"set": {"verbalizer.template": "no slot"}}
    made = make_ablation(tmp_path, **rows)
    ablate.check(made, ["one", "three"], tmp_path / "out")
    with pytest.raises(
        RecipeError, match=r"row 'two': verbalizer\.template 'no slot' has \{thought\} 0 times"
    ):
        ablate.check(made, list(made.rows), tmp_path / "out")
    finished(tmp_path / "out", "two", {})
    with pytest.raises(StageError, match=r"two has no inputs\.json"):
        ablate.check(made, list(made.rows), tmp_path / "out")
    record(tmp_path / "out" / "two", made_from(made, "two"))
    ablate.check(made, list(made.rows), tmp_path / "out")


def test_another_machine_may_go_on_with_a_table(tmp_path: Path, trained: list[str]) -> None:
    run_row(make_ablation(tmp_path, main={}), "main", tmp_path, SILENT)
    moved = {"rollout.actors": 4, "reward.cpus_per_actor": 2, "reasoner.device": "cuda", "train.threads": 3}
    run_row(make_ablation(tmp_path, main={"set": moved}), "main", tmp_path, SILENT)
    assert trained == ["main"]


def run_table(folder: Path, **rows: dict[str, Any]) -> Ablation:
    values = make_ablation(folder).model_dump() | {"start": "embedded", "figures": "run"}
    named = {name: {"why": name, **row} for name, row in rows.items()}
    return validated(Ablation, values | {"rows": named}, "table")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Names the rows and seeds that would have been trained; each finds its seed as a match."""
    done: list[tuple[str, int]] = []

    def train(recipe: Any, resume: bool) -> Path:
        out, seed = Path(recipe.train.out), recipe.grpo.seed
        done.append((out.parent.name, seed))
        assert (out / "warm" / "adapter_model.safetensors").is_file()
        assert (out / "reading" / "maps.safetensors").is_file()
        assert json.loads((out / "warm" / "inputs.json").read_text()).keys() == {"taken over from"}
        lines = [
            {"step": 0, "heldout/match": -1.0},
            {"step": 1, "loss": 0.1, "step_time": 2.5},
            {"step": 2, "loss": 0.1, "step_time": 2.0},
            {"step": 2, "heldout/match": float(seed), "heldout/claim": 0.5},
        ]
        (out / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (out / "completions.jsonl").write_text("{}\n" * 6)
        return out / "verbalizer"

    monkeypatch.setattr(ablate, "train", train)
    return done


def test_a_row_of_seeds_is_the_mean_of_runs_from_the_embedded_warm_start(
    tmp_path: Path, runs: list[tuple[str, int]]
) -> None:
    ablation = run_table(tmp_path, base={"seeds": [0, 1, 2]}, once={"set": {"grpo.clip": 0.3}})
    out = tmp_path / "out"
    figures = run_row(ablation, "base", out, SILENT)
    assert runs == [("base", 0), ("base", 1), ("base", 2)]
    assert figures["heldout.match"] == {"value": 1.0, "low": 0.0, "high": 2.0, "n": 3}
    assert figures["texts"]["value"] == 6 and figures["seconds"]["value"] == 4.5
    assert ablate.found(ablation, "base", out) == figures
    assert ablate.found(ablation, "once", out) is None
    run_row(ablation, "base", out, SILENT)
    assert len(runs) == 3  # finished seeds are kept
    once = run_row(ablation, "once", out, SILENT)
    [shown] = tables({"base": figures, "once": once})
    assert isinstance(shown, Table) and shown.rows[0][1:] == ["1.000 ±1.000", "0.000"]


def test_seeds_of_a_table_are_of_every_row_that_has_none_of_its_own(
    tmp_path: Path, runs: list[tuple[str, int]]
) -> None:
    values = run_table(tmp_path, base={}, more={"after": "base"}, own={"seeds": [7]}).model_dump()
    ablation = validated(Ablation, values | {"seeds": [1, 2]}, "table")
    for name in ablation.rows:
        run_row(ablation, name, tmp_path / "out", SILENT)
    assert runs == [("base", 1), ("base", 2), ("more", 1), ("more", 2), ("own", 7)]


def test_a_seed_is_of_all_that_a_row_trains_and_of_the_rows_that_it_goes_on_from(tmp_path: Path) -> None:
    stages = [{"search": {"samples": 4}, "distil": {"steps": 5}}, {"grpo": {"steps": 1, "seed": 9}}]
    ablation = run_table(
        tmp_path,
        base={},
        more={"after": "base", "set": {"reinforce": stages}, "seeds": [3, 4]},
    )
    [(one, folder), (other, _)] = ablate.by_seed(ablation, "more", tmp_path)
    recipe = ablate.recipe_of(one, "more", folder / "more")
    sections = [recipe.warm_start, recipe.grpo, *(stage.section for stage in recipe.stages)]
    assert {section.seed for section in sections} == {3} and len(recipe.stages) == 3
    assert folder.name == "seed-3" and ablate.recipe_of(one, "base", folder).warm_start.seed == 3
    assert ablate.recipe_of(other, "base", folder).warm_start.seed == 4
    assert ablate.made_from(one, "more") != ablate.made_from(other, "more")


def test_a_row_can_learn_from_the_texts_that_another_one_found(tmp_path: Path) -> None:
    for part in ("reading", "warm", "reinforce/01-search", "reinforce/02-distil", "reinforce/03-search"):
        (tmp_path / part).mkdir(parents=True)
    row = ablate.AblationRow(why="", after="base", takes=["reading", "search"])
    assert [str(part) for part in ablate.taken(tmp_path, row)] == [
        "reading", "reinforce/01-search", "reinforce/03-search",
    ]  # fmt: skip
    assert ablate.taken(tmp_path, row.model_copy(update={"takes": ["warm"]})) == [Path("warm")]


def test_seeds_that_are_still_missing_are_left_out_of_the_mean(
    tmp_path: Path, runs: list[tuple[str, int]]
) -> None:
    out = tmp_path / "out"
    run_row(run_table(tmp_path, base={"seeds": [1, 2]}), "base", out, SILENT)
    more = ablate.found(run_table(tmp_path, base={"seeds": [1, 2, 5]}), "base", out)
    assert more is not None and more["heldout.match"]["value"] == 1.5


def test_seeds_need_figures_of_the_run(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"row 'main' has seeds, which only a table of `figures: run`"):
        make_ablation(tmp_path, main={"seeds": [0, 1]})
