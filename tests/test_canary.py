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
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, PngImagePlugin

from make_films import drawn_film, write_dicom
from mammo_core.cli import main
from mammo_core.data.manifest import KEY_FILE, PATHS_FILE, load_dataset
from mammo_core.settings import HOME_VARIABLE, Workspace, open_workspace
from mammo_core.workflows.prediction_batches import predict_batch

CANARIES = (
    "zanzibara", "quintiliane", "patnr-77031", "19470923", "1947-09-23", "20170823", "2017-08-23", "wolkenklinik", "acc-660142",
    "3680043.9.7777", "dr.nachtigall", "mtra-uhlenbusch", "rosenweg 12a", "0049-30-555", "canaryremark", "stationkakadu",
)  # fmt: skip
"""In lower case; long enough that no compressed picture holds one by chance."""
NEVER_EXPORTED = (PATHS_FILE, KEY_FILE, "files.csv")
"""What leads back to files and people, and says so: it stays on this machine."""
UID = "1.2.826.0.1.3680043.9.7777"
HEADER = {
    "PatientName": "Zanzibara^Quintiliane",
    "PatientBirthDate": "19470923",
    "OtherPatientIDs": "PATNR-77031",
    "PatientAddress": "Rosenweg 12a",
    "PatientTelephoneNumbers": "0049-30-555",
    "PatientComments": "Zanzibara canaryremark",
    "StudyDate": "20170823",
    "SeriesDate": "20170823",
    "ContentDate": "20170823",
    "AcquisitionDateTime": "20170823101112",
    "InstitutionName": "Wolkenklinik",
    "InstitutionAddress": "Wolkenklinik, Rosenweg 12a",
    "ReferringPhysicianName": "Dr.Nachtigall",
    "OperatorsName": "MTRA-Uhlenbusch",
    "StationName": "STATIONKAKADU",
    "AccessionNumber": "ACC-660142",
    "StudyID": "ACC-660142",
    "StudyDescription": "Zanzibara",
    "SeriesDescription": "Quintiliane",
    "ImageComments": "canaryremark",
    "PresentationIntentType": "FOR PRESENTATION",
    "Manufacturer": "ACME",
}
SETTINGS = (
    "arch=test_efficientnet", "weights=none", "image_size=48", "epochs=1", "warmup_epochs=0", "batch_size=8", "threads=1",
)  # fmt: skip


# ---- the search ---------------------------------------------------------------------------------------------------------------


def layers(content: bytes) -> Iterator[bytes]:
    """The bytes, and whatever they hold packed: members of archives, compressed text of pictures, streams of documents."""
    yield content
    if content[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            yield "\n".join(archive.namelist()).encode()
            for name in archive.namelist():
                yield from layers(archive.read(name))
    elif content[:2] == b"\x1f\x8b":
        yield from layers(gzip.decompress(content))
    elif content[:4] == b"\x89PNG":
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
            yield repr(getattr(picture, "text", {})).encode()
    elif content[:5] == b"%PDF-":
        for stream in re.findall(rb"stream\r?\n(.*?)endstream", content, re.DOTALL):
            for way in (stream, _ascii85(stream)):
                try:
                    yield zlib.decompressobj().decompress(way)
                except zlib.error:
                    continue


def _ascii85(stream: bytes) -> bytes:
    """A stream that was made printable after it was packed, as ReportLab does; empty where it was not."""
    try:
        return base64.a85decode(stream.strip().removesuffix(b"~>"))
    except ValueError:
        return b""


def found_in(content: bytes) -> list[str]:
    """Canaries in these bytes, in one or two bytes a letter, in any case and spelling."""
    found = set()
    for layer in layers(content):
        plain = layer.lower()
        texts = (plain, plain.replace(b"\0", b""))
        found |= {canary for canary in CANARIES if any(canary.encode() in text for text in texts)}
    return sorted(found)


def found_below(folder: Path, without: tuple[bytes, ...] = ()) -> dict[str, list[str]]:
    """File -> the canaries in its name or content; ``without`` is taken out of the content first."""
    found = {}
    for path in folder.rglob("*"):
        relative = path.relative_to(folder).as_posix()
        content = path.read_bytes() if path.is_file() and path.name not in NEVER_EXPORTED else b""
        for known in without:
            content = content.replace(known, b"")
        if canaries := [*found_in(relative.encode()), *found_in(content)]:
            found[relative] = canaries
    return found


@pytest.mark.parametrize(
    "how", ["plain", "two bytes", "zip", "npz", "zip in zip", "gzip", "png text", "pdf stream", "pdf ascii85", "name"]
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
    said: dict[str, str]
    """Command -> everything on stdout and stderr."""


def write_source(root: Path) -> None:
    """24 films of 12 women, and a film that is damaged, under names that tell everything."""
    rows = []
    for number in range(24):
        folder = root / f"Zanzibara_{number // 2}_1947-09-23"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"Quintiliane_{number}_20170823.dcm"
        uids = {f"{name}InstanceUID": f"{UID}.{number}" for name in ("SOP", "Study", "Series")}
        stored = (drawn_film((160, 128), reach=0.35 + 0.02 * (number % 9), seed=number) * 4095).astype(np.uint16)
        write_dicom(
            path, stored, **HEADER, **uids, FrameOfReferenceUID=UID, PatientID=f"PATNR-77031-{number // 2}", WindowCenter=2048,
            WindowWidth=4096, ImageLaterality="L", ViewPosition=("CC", "MLO")[number % 2],
        )  # fmt: skip
        rows.append({"file": path.relative_to(root).as_posix(), "density": "AB"[number // 2 % 2]})
    broken = root / "Zanzibara_0_1947-09-23" / "Quintiliane_broken_20170823.dcm"
    broken.write_bytes((root / rows[0]["file"]).read_bytes()[:2500])
    rows.append({"file": broken.relative_to(root).as_posix(), "density": "A"})
    private = {"Patient Name": "Zanzibara, Quintiliane", "birth date": "1947-09-23", "remark": "canaryremark", "age": "69"}
    pd.DataFrame([{**row, **private, "study date": "2017-08-23"} for row in rows]).to_csv(root / "Wolkenklinik.csv", index=False)


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Journey:
    """Everything is written before the first test looks."""
    base = tmp_path_factory.mktemp("canary")
    source, out = base / "source", base / "out"
    write_source(source)
    workspace = open_workspace(base / "runs")
    patch = pytest.MonkeyPatch()
    patch.setenv(HOME_VARIABLE, str(workspace.home))
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
    finally:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        patch.undo()
    return Journey(workspace, source, out, said)


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
    assert found_below(journey.workspace.home) == {}
    written = {path.name for path in journey.workspace.home.rglob("*")}
    assert {"manifest.csv", "film_facts.csv", "audit.md", "split.json", "run.log", "best_model.pth", "files.tsv"} <= written


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
