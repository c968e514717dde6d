"""No name, id or date of a person in anything that is written, from the import to the report: every byte is searched.

Films whose headers, file names, folders and table are full of canaries go through the command line as a user types it. The
search also looks inside archives and compressed streams, and is itself shown to find what is hidden there. About half a minute.
"""

from __future__ import annotations

import base64
import gzip
import io
import logging
import re
import sys
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, PngImagePlugin

from mammo_core.cli import main
from mammo_core.data.manifest import load_dataset
from mammo_core.runs import queue
from mammo_core.settings import HOME_VARIABLE, Workspace, open_workspace
from mammo_core.workflows.jobs import run_job
from mammo_core.workflows.prediction_batches import predict_batch
from reliability.canaries import CANARIES, found_below, found_in, write_source

SETTINGS = (
    "arch=test_efficientnet", "weights=none", "image_size=48", "epochs=1", "warmup_epochs=0", "batch_size=8", "threads=1",
)  # fmt: skip


@pytest.mark.parametrize(
    "how",
    [
        *("plain", "two bytes", "zip", "npz", "zip in zip", "gzip", "png text"),
        *("pdf stream", "pdf ascii85", "pdf hex", "picture in a text", "name"),
    ],
)
def test_the_search_finds_a_canary_wherever_it_is_hidden(tmp_path, how):
    secret = b"patient Zanzibara"
    packed = io.BytesIO()
    if how in ("zip", "zip in zip"):
        for _ in range(1 + (how == "zip in zip")):
            inner = packed.getvalue() or secret
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("inner", inner)
    elif how == "npz":
        np.savez_compressed(packed, a=np.frombuffer(secret, np.uint8))
    elif how == "png text":
        text = PngImagePlugin.PngInfo()
        text.add_text("Comment", secret.decode(), zip=True)
        Image.new("L", (4, 4)).save(packed, "PNG", pnginfo=text)
    elif how == "pdf hex":
        packed.write(b"%PDF-1.4\n/Author <FEFF" + secret.decode().encode("utf-16-be").hex().encode() + b">")
    elif how == "picture in a text":
        packed.write(b"<image href='data:image/png;base64," + base64.b64encode(b"..." + secret) + b"'/>")
    elif how.startswith("pdf"):
        stream = zlib.compress(secret)
        stream = base64.a85encode(stream) + b"~>" if how == "pdf ascii85" else stream
        packed.write(b"%PDF-1.4\nstream\n" + stream + b"\nendstream")
    content = {
        "plain": secret, "two bytes": secret.decode().encode("utf-16-le"), "gzip": gzip.compress(secret), "name": b"",
    }.get(how, packed.getvalue())  # fmt: skip
    path = tmp_path / ("Zanzibara.txt" if how == "name" else "file.bin")
    path.write_bytes(content)
    assert found_below(tmp_path) == {path.name: ["zanzibara"]}


# ---- the way of a user --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Journey:
    """What a whole way through the command line left behind."""

    workspace: Workspace
    source: Path
    out: Path
    scratch: Path
    """Where temporary files went."""
    said: dict[str, str]
    """Command -> everything on stdout and stderr."""


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Journey:
    """Everything is written before the first test looks."""
    base = tmp_path_factory.mktemp("canary")
    source, out, scratch = base / "Zanzibara_1947-09-23", base / "out", base / "scratch"
    scratch.mkdir()
    write_source(source)
    workspace = open_workspace(base / "runs")
    patch = pytest.MonkeyPatch()
    patch.setenv(HOME_VARIABLE, str(workspace.home))
    patch.setenv("TMPDIR", str(scratch))
    patch.setattr(tempfile, "tempdir", str(scratch))
    logger = logging.getLogger("mammo_core")
    handlers, level = list(logger.handlers), logger.level
    said: dict[str, str] = {}

    def type_in(*words: str, exit_code: int = 0) -> None:
        streams = io.StringIO()
        patch.setattr(sys, "argv", ["mammography", *words])
        patch.setattr(sys, "stdout", streams)
        patch.setattr(sys, "stderr", streams)
        with pytest.raises(SystemExit) as ended:
            main()
        said[words[0]] = streams.getvalue()
        assert (ended.value.code or 0) == exit_code, streams.getvalue()

    def ask_for(kind: str, **arguments: object) -> None:
        """As a page does it, through a request that the app's child carries out."""
        request = queue.enqueue(workspace, kind, arguments, f"Asked for {kind}")
        assert run_job(workspace, request.id) == 0, queue.find_request(workspace, request.id)

    try:
        type_in("import", str(source), "--name", "set", "--task", "density", "--patient-from", "header")
        type_in("audit", "set")
        type_in("split", "set", "--name", "parts", "--ratios", "50/25/25")
        damage_after_import(workspace)
        settings = [word for setting in SETTINGS for word in ("--set", setting)]
        type_in("train", "--dataset", "set", "--split", "parts", "--experiment", "e", "--seeds", "1", *settings)
        type_in("evaluate", "e/seed_1", "--on", "test")
        films = [str(source / "Zanzibara_0_1947-09-23")]
        type_in("predict", "--run", "e/seed_1", *films, "--gradcam", str(out / "predicted"), "--json", exit_code=1)
        predict_batch(workspace, ["e/seed_1"], source)
        type_in("report-pack", "--run", "e/seed_1", "--assets-dir", str(out / "pack"))
        images = ",".join(lose_a_predicted_film(workspace))
        type_in("gradcam", "--run", "e/seed_1", "--out", str(out / "maps"), "--images", images, exit_code=1)
        type_in("keep-model", "e/seed_1", "--name", "kept")
        type_in("export-model", "kept", "--out", str(out / "kept.zip"))
        ask_for("import", source=str(source), name="again", choices={"task": "density", "patient_from": "header"})
        ask_for("audit", dataset="again")
        ask_for("report", runs=["e/seed_1"], formats=["png", "svg", "pdf"])
    finally:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        patch.undo()
    return Journey(workspace, source, out, scratch, said)


def damage_after_import(workspace: Workspace) -> None:
    """One film of each part becomes unreadable, one more disappears: training, evaluation and maps must say so without names."""
    dataset = load_dataset(workspace, "set")
    parts = pd.read_csv(workspace.split("parts") / "split.csv", dtype=str).groupby("split")["image_id"]
    for part, images in parts:
        path = dataset.film_path(images.iloc[0])
        path.write_bytes(path.read_bytes()[:2000])
        if part == "train":
            dataset.film_path(images.iloc[1]).unlink()


def lose_a_predicted_film(workspace: Workspace) -> list[str]:
    """Two films of the validation part; the file of the first is damaged after the training."""
    images = pd.read_csv(next(workspace.experiments.rglob("val_predictions.csv")), dtype=str)["image_id"].tolist()[:2]
    path = load_dataset(workspace, "set").film_path(images[0])
    path.write_bytes(path.read_bytes()[:2000])
    return images


def test_the_canaries_are_in_the_source(journey):
    found = {canary for canaries in found_below(journey.source).values() for canary in canaries}
    assert found == set(CANARIES)


def test_no_file_of_the_workspace_and_no_file_name_holds_a_canary(journey):
    """The folder that the user named apart: see the next test."""
    assert found_below(journey.workspace.home, without=(str(journey.source).encode(),)) == {}
    written = {path.name for path in journey.workspace.home.rglob("*")}
    assert {"manifest.csv", "film_facts.csv", "audit.md", "split.json", "run.log", "best_model.pth", "files.tsv"} <= written


def test_the_folder_that_was_named_stands_only_where_the_films_are_looked_for(journey):
    home = journey.workspace.home
    named = {re.sub(r"queue/.*json", "queue/*.json", path) for path in found_below(home)}
    assert named == {"datasets/again/dataset.json", "datasets/set/dataset.json", "queue/*.json"}


def test_temporary_files_hold_no_canary_and_are_gone(journey):
    assert [path.name for path in journey.scratch.rglob("*") if path.is_file()] == []


def test_no_figure_table_or_map_that_was_asked_for_holds_a_canary(journey):
    assert found_below(journey.out) == {}
    assert {".png", ".pdf", ".svg", ".zip", ".csv"} <= {path.suffix for path in journey.out.rglob("*")}


def test_films_lost_on_the_way_are_told_by_their_pseudonyms(journey):
    log = next(journey.workspace.experiments.rglob("run.log")).read_text()
    lost = re.findall(r"Left out film (I[0-9a-f]{12}): The film cannot be", log)
    assert len(lost) >= 2


@pytest.mark.parametrize(
    "command",
    [
        "audit",
        "split",
        "train",
        "evaluate",
        "gradcam",
        "report-pack",
    ],
)
def test_nothing_that_a_command_says_holds_a_canary(journey, command):
    assert journey.said[command]
    assert found_in(journey.said[command].encode()) == []


@pytest.mark.parametrize("command", ["import", "predict"])
def test_a_command_that_is_given_files_says_no_more_of_a_person_than_their_names(journey, command):
    said = journey.said[command]
    for path in journey.source.rglob("*"):
        said = said.replace(str(path), "").replace(path.name, "")
    assert found_in(said.encode()) == []
