"""R15: what must never be found - names, ids and dates of made-up women - films full of them, and the search for them.

The search looks into archives, compressed text of pictures, streams of documents and pictures inside of texts.
"""

from __future__ import annotations

import base64
import gzip
import io
import re
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from make_films import drawn_film, write_dicom
from mammo_core.data.manifest import KEY_FILE, PATHS_FILE
from mammo_core.settings import PROJECT_ROOT
from reliability.findings import Finding

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
        yield from _of_a_pdf(content)
    for picture in re.findall(rb"data:[a-z/+]+;base64,([A-Za-z0-9+/=]+)", content):
        yield from layers(base64.b64decode(picture + b"=" * (-len(picture) % 4)))


def _of_a_pdf(content: bytes) -> Iterator[bytes]:
    """Unpacked streams, and texts that are written in hexadecimal digits."""
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", content, re.DOTALL):
        for way in (stream, _ascii85(stream)):
            try:
                yield zlib.decompressobj().decompress(way)
            except zlib.error:
                continue
    for text in re.findall(rb"<([0-9A-Fa-f\s]{8,})>", content):
        digits = re.sub(rb"\s", b"", text)
        yield bytes.fromhex((digits + b"0" * (len(digits) % 2)).decode())


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


# ---- the films -----------------------------------------------------------------------------------------------------------------


def write_source(root: Path, films: int = 24) -> None:
    """Two films of each woman, and a film that is damaged, under names that tell everything."""
    rows = []
    for number in range(films):
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


# ---- the scenario --------------------------------------------------------------------------------------------------------------

TESTS = ("tests/test_canary.py", "tests/e2e/test_nothing_leaves.py")


def check(full: bool, seed: int, folder: Path) -> list[Finding]:
    """The canary tests as they stand in the suite: the command line and the queue's jobs, then the pages in a browser."""
    found = []
    for test in TESTS:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={folder / Path(test).stem}", test]
        done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
        failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        found.append(Finding("R15", f"canaries found ({test})", f"{len(failed)}", done.returncode == 0, tuple(failed)))
    return found
