"""What users import: the names, that the import is light, the types, and docs/api.md."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import reverse_codi
from reverse_codi import Reasoner, Recipe, RewardBatch, Site, TraceStore, Verbalizer, evaluate, reward, train
from reverse_codi.cli.main import main
from reverse_codi.reasoners.codi import CodiReasoner

ROOT = Path(__file__).parents[2]
DOC = (ROOT / "docs/api.md").read_text()
BLOCK = re.compile(r"(<!-- slow -->\n)?```(python|bash)\n(.*?)```", re.DOTALL)


def test_the_names() -> None:
    names = "Patch Reasoner Recipe RewardBatch Site TraceStore Verbalizer evaluate reward train"
    assert sorted(reverse_codi.__all__) == sorted(reverse_codi._PLACES) == names.split()
    assert set(reverse_codi.__all__) < set(dir(reverse_codi))
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", reverse_codi.__version__)
    with pytest.raises(AttributeError, match="module 'reverse_codi' has no attribute 'Verbaliser'"):
        reverse_codi.Verbaliser  # noqa: B018 - it raises


@pytest.mark.parametrize("name", reverse_codi.__all__)
def test_every_name_is_documented_and_annotated(name: str) -> None:
    value = getattr(reverse_codi, name)
    assert inspect.getdoc(value)
    assert re.search(rf"^#+ .*\b{name}\b", DOC, re.MULTILINE), f"docs/api.md has no section on {name}"
    function = value.__init__ if inspect.isclass(value) and value is not Reasoner else value
    if inspect.isfunction(function):
        untyped = [
            key
            for key, parameter in inspect.signature(function).parameters.items()
            if parameter.annotation is parameter.empty and key != "self"
        ]
        assert not untyped, untyped


def signature(function: Any, *left_out: str) -> str:
    """Parameters as the page writes them: names and defaults."""
    parameters = inspect.signature(function).parameters
    kept = [
        p.replace(annotation=p.empty) for name, p in parameters.items() if name not in ("self", *left_out)
    ]
    return str(inspect.Signature(kept)).replace("'", '"').replace(", /", "")


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("Reasoner.from_pretrained", type(Reasoner).from_pretrained),
        ("Verbalizer.from_pretrained", Verbalizer.from_pretrained),
        ("translate", Verbalizer.translate),
        ("translate_vectors", Verbalizer.translate_vectors),
        ("translate_store", Verbalizer.translate_store),
        ("latent_inputs", Verbalizer.latent_inputs),
        ("counterfactual", Verbalizer.counterfactual),
        ("TraceStore.open", TraceStore.open),
        ("Recipe.load", Recipe.load),
        ("evaluate", evaluate),
        ("reward", reward),
        ("think", Reasoner.think),
        ("read", Reasoner.read),
        ("write", Reasoner.write),
        ("nll", Reasoner.nll),
        ("answer_states", Reasoner.answer_states),
    ],
)
def test_signatures_on_the_page_are_the_functions_own(name: str, function: Any) -> None:
    given = signature(function, *(["cls"] if name == "Reasoner.from_pretrained" else []))
    assert f"`{name}{given}`" in " ".join(DOC.split())


def test_every_member_of_the_protocol_is_on_the_page() -> None:
    for name in (name for name in vars(Reasoner) if not name.startswith("_")):
        assert f"`{name}" in DOC, name


def test_train_takes_a_recipe() -> None:
    assert next(iter(inspect.signature(train).parameters)) == "recipe"
    assert "resume" in inspect.signature(train).parameters


# ---- a light import


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_import_is_light_and_changes_nothing() -> None:
    code = (
        "import os, sys; before = dict(os.environ); import reverse_codi; "
        "assert dict(os.environ) == before; "
        "loaded = {name.split('.')[0] for name in sys.modules}; "
        "print(loaded & {'torch', 'numpy', 'pydantic', 'yaml', 'tempfile'})"
    )
    ran = run(code, HOME="/proc/nowhere", WANDB_MODE="offline")
    assert (ran.returncode, ran.stdout.strip(), ran.stderr) == (0, "set()", "")


def test_a_public_name_makes_the_environment_fit_before_its_libraries_are_loaded(tmp_path: Path) -> None:
    code = "import os; from reverse_codi import Site; import reverse_codi; print(os.environ['WANDB_MODE'])"
    ran = run(code, HOME="/proc/nowhere", WANDB_MODE="offline", TMPDIR=str(tmp_path))
    assert ran.stdout.strip() == "dryrun"
    assert ran.stderr.count("the home folder /proc/nowhere cannot be written to") == 1


@pytest.mark.parametrize("program", ["-m", "default_worker.py"])
def test_a_program_of_ours_makes_it_fit_first(tmp_path: Path, program: str) -> None:
    """`python -m` a module, or a worker of Ray, which imports modules and no public name."""
    told = "import atexit, os; atexit.register(lambda: print(os.environ.get('HF_HOME')))"
    (tmp_path / "sitecustomize.py").write_text(told)
    (tmp_path / program).write_text("import reverse_codi.recipe.overrides\n")
    words = ["-m", "reverse_codi.recipe.overrides"] if program == "-m" else [str(tmp_path / program)]
    path = os.pathsep.join([str(ROOT), str(tmp_path)])
    environment = {**os.environ, "PYTHONPATH": path, "HOME": "/proc/nowhere", "TMPDIR": str(tmp_path)}
    environment.pop("HF_HOME", None)
    ran = subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0 and ran.stdout.startswith(str(tmp_path)), (ran.stdout, ran.stderr)


@pytest.mark.long
def test_train_is_the_function_whatever_is_imported() -> None:
    code = (
        "import reverse_codi.train; from reverse_codi import train; import reverse_codi; "
        "assert callable(train) and reverse_codi.train is train; "
        "from reverse_codi.train import train as same; assert same is train"
    )
    ran = run(code)
    assert ran.returncode == 0, ran.stderr


# ---- a reasoner


def test_a_reasoner_is_loaded_by_name_or_folder(tiny_folders: tuple[Path, Path]) -> None:
    loaded = Reasoner.from_pretrained(tiny_folders[0])
    assert isinstance(loaded, CodiReasoner) and loaded.n_thoughts == 3
    assert repr(loaded).startswith("CodiReasoner(thoughts=3, width=32, layers=2, device='cpu', hash='")
    assert loaded.content_hash[:12] in repr(loaded)
    assert not hasattr(Reasoner.think, "from_pretrained") and "from_pretrained" not in vars(Reasoner)


TYPED = """
import numpy as np
from reverse_codi import (
    Reasoner, Recipe, RewardBatch, Site, TraceStore, Verbalizer, __version__, evaluate, reward,
)


def answers(reasoner: Reasoner, questions: list[str]) -> list[str]:
    return reasoner.think(questions).outputs


@reward(worst=-1.0)
def constant(batch: RewardBatch) -> list[float | None]:
    return [float(batch.reasoner.n_thoughts)] * len(batch)


def bare(completions: list[str], **kwargs: object) -> list[float]:
    return [0.0] * len(completions)


verbalizer = Verbalizer.from_pretrained("embedded", reasoner=Reasoner.from_pretrained("embedded"))
site: Site = verbalizer.sites[0]
texts: list[str] = [row.text for row in verbalizer.translate_vectors(np.zeros(4), site=site)]
match: float | None = verbalizer.translate("How many?")[0].match
chain: list[str] = verbalizer.translate_store(TraceStore.open("folder")).chain()
recipe: Recipe = Recipe.load("tiny", reward={"functions": [constant, bare]})
value: float = evaluate(recipe, problems=64)["operands"].value
version: str = __version__
wrong: int = verbalizer.translate(3)
"""


@pytest.mark.slow
def test_a_users_file_is_checked_by_mypy(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(TYPED)
    asked = ["--strict", "--config-file", str(ROOT / "pyproject.toml"), str(tmp_path / "mine.py")]
    ran = subprocess.run([sys.executable, "-m", "mypy", *asked], capture_output=True, text=True, cwd=ROOT)
    lines = [line for line in ran.stdout.splitlines() if "mine.py" in line]
    assert len(lines) == 2 and all(f":{TYPED.count(chr(10))}:" in line for line in lines), ran.stdout


# ---- the page


def examples(slow: bool) -> list[tuple[str, str]]:
    """(language, code) of the page's blocks, in order; those that take minutes only if asked for."""
    return [(language, code) for mark, language, code in BLOCK.findall(DOC) if slow or not mark]


def run_examples(blocks: list[tuple[str, str]]) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "docs_api"}
    for language, code in blocks:
        if language == "python":
            exec(compile(code, "docs/api.md", "exec"), names)
            continue
        for line in code.splitlines():
            program, *arguments = shlex.split(line)
            assert program == "reverse-codi", line
            main(arguments)
    return names


def test_every_quick_example_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names = run_examples(examples(slow=False))
    printed = capsys.readouterr().out
    assert "h0  28 - 4 = 24.   match 0.85  trust 1.00" in printed and "The answer is: 56" in printed
    assert names["edited"].answers == ("The answer is: 56", "The answer is: 54")
    assert names["one"][0].text == "24 * 2 = 48." and names["fed"][0].match is None
    assert names["recipe"].reward.functions[0].name is names["near"]
    for _, code in examples(slow=True):
        assert len([line for line in code.splitlines() if line.strip()]) <= 10, code


@pytest.mark.slow
def test_every_example_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run_examples(examples(slow=True))
    assert (names["folder"] / "maps.safetensors").is_file()
    assert names["result"]["operands"].value > 0.9


def test_what_a_reward_gets_is_in_the_docs() -> None:
    rewards = (ROOT / "docs/rewards.md").read_text()
    for name in (*RewardBatch.__dataclass_fields__, "reasoner"):
        assert name in ("finished", "token_ids", "thoughts") or f"`{name}" in rewards, name
    assert Site.parse("h1") == Site("h", 1)
