"""To the hub and back, in a process whose hub is a server of this test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard

from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.traces.store import TraceStore
from reverse_codi.verbalize.verbalizer import Verbalizer
from tests.hub import StubHub, environment_of, running_hub
from tests.tiny import make_problems, make_tiny_traces

pytestmark = pytest.mark.long

QUESTION = make_problems(1)[0].question

UPLOADS = """
import os, sys
from reverse_codi.cli.main import main
reasoner, verbalizer, traces = sys.argv[1:]


def refused(*words):
    try:
        main(words)
    except SystemExit as error:
        print("refused:", error.code)


refused("push", verbalizer, "me/verbalizer")
token = os.environ.pop("HF_TOKEN")
refused("push", reasoner, "me/reasoner")
os.environ["HF_TOKEN"] = token
main(["push", reasoner, "me/reasoner", "--license", "apache-2.0", "--base-model", "you/base", "--private"])
main(["push", verbalizer, "me/verbalizer", "--reasoner", "me/reasoner"])
main(["push", traces, "me/traces", "--revision", "first"])
"""

DOWNLOADS = """
import json, sys
from reverse_codi import Reasoner, TraceStore, Verbalizer
from reverse_codi.cli.main import main
from reverse_codi.errors import UserError
question = sys.argv[1]
verbalizer = Verbalizer.from_pretrained("me/verbalizer")
reasoner = Reasoner.from_pretrained("me/reasoner")
store = TraceStore.open("me/traces", reasoner)
main(["verbalize", "--verbalizer", "me/verbalizer", "--out", "rows.jsonl", question])
try:
    Verbalizer.from_pretrained("me/nothing")
except UserError as error:
    failed = str(error)
print(json.dumps({
    "texts": [row.text for row in verbalizer.translate(question)],
    "hash": reasoner.content_hash,
    "identity": store.identity,
    "failed": failed,
}))
"""


def run(program: str, *arguments: object, hub: StubHub, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **environment_of(hub, home), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def here(
    tiny_folders: tuple[Path, Path],
    tiny_verbalizer: Path,
    tiny_reasoner: CodiReasoner,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder of this machine: `verbalizer`, whose recipe names a reasoner by its folder, and `traces`."""
    root = tmp_path_factory.mktemp("here")
    shutil.copytree(tiny_verbalizer, root / "verbalizer")
    recipe = {"reasoner": {"path": str(tiny_folders[0])}, "grpo": {"max_new_tokens": 12}}
    (root / "verbalizer/recipe.yaml").write_text(yaml.safe_dump(recipe))
    make_tiny_traces(tiny_reasoner, root / "traces", 12)
    return root


def test_what_is_pushed_is_what_others_load(
    here: Path, tiny_folders: tuple[Path, Path], tiny_reasoner: CodiReasoner, tmp_path: Path
) -> None:
    with running_hub() as hub:
        pushed = run(UPLOADS, tiny_folders[0], here / "verbalizer", here / "traces", hub=hub, home=tmp_path)
        uploads = list(hub.asked)
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        loaded = run(DOWNLOADS, QUESTION, hub=hub, home=elsewhere)

    # Refused before anything was sent: a reasoner that others do not have. Then by the hub: no token.
    assert "a folder that others do not have; push it first" in pushed.stdout
    assert "refused: error: nothing was pushed to 'me/reasoner', the hub gave" in pushed.stdout
    assert "HF_TOKEN" in pushed.stdout
    assert uploads[0] == "POST /api/repos/create" and uploads.count("POST /api/repos/create") == 4
    assert [repo["name"] for repo in hub.created] == ["reasoner", "verbalizer", "traces"]
    assert [repo.get("visibility") for repo in hub.created] == ["private", None, None]
    assert f"{hub.address}/me/verbalizer/commit/" in pushed.stdout
    assert "POST /api/datasets/me/traces/branch/first" in uploads

    files = hub.repos["models/me/verbalizer"]
    assert set(files) == {
        *("adapter_config.json", "adapter_model.safetensors", "verbalizer.json", "maps.safetensors"),
        *("reference_texts.json", "recipe.yaml", "README.md", "checksums.json"),
    }
    recipe = yaml.safe_load(files["recipe.yaml"])
    assert recipe == {"reasoner": {"path": "me/reasoner"}, "grpo": {"max_new_tokens": 12}}
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == "me/reasoner"
    card = ModelCard(files["README.md"].decode())
    assert card.data.base_model == "me/reasoner" and card.data.library_name == "reverse_codi"
    assert tiny_reasoner.content_hash in card.text and str(here) not in card.content
    assert 'from_pretrained("me/verbalizer")' in card.text
    other = ModelCard(hub.repos["models/me/reasoner"]["README.md"].decode())
    assert (other.data.license, other.data.base_model) == ("apache-2.0", "you/base")
    assert tiny_reasoner.content_hash in other.text
    traces = DatasetCard(hub.repos["datasets/me/traces"]["README.md"].decode())
    assert traces.data.configs[0]["data_files"] == [{"split": "train", "path": "shard-*.arrow"}]

    found = json.loads(loaded.stdout.splitlines()[-1])
    verbalizer = Verbalizer.from_pretrained(here / "verbalizer")
    assert found["texts"] == [row.text for row in verbalizer.translate(QUESTION)]
    assert found["hash"] == tiny_reasoner.content_hash
    assert found["identity"] == TraceStore.open(here / "traces").identity
    rows = [json.loads(line) for line in (elsewhere / "rows.jsonl").read_text().splitlines()]
    assert [row["translation"] for row in rows] == found["texts"]
    assert "verbalizer = 'me/nothing' is no folder here, and the hub gave" in found["failed"]
