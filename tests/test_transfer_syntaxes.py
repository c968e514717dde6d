"""One film in every transfer syntax: identical where nothing is lost, near where something is, named where no decoder reads it.

The films are compressed here by pydicom's encoders and by GDCM; what they must show is worked out from the values before.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
import numpy.typing as npt
import pandas as pd
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from make_films import dicom_of, drawn_film, write_dicom
from mammo_core.data.adapters import understand
from mammo_core.data.reader import read_film
from mammo_core.data.sandbox import DecodePool, FilmSummary, Job
from mammo_core.errors import FilmUnreadable
from mammo_core.workflows.ingest import import_dataset

Stored = npt.NDArray[np.integer[Any]]
Kind = tuple[int, bool]

GDCM_SYNTAXES = {
    RLELossless: gdcm.TransferSyntax.RLELossless,
    JPEGLSLossless: gdcm.TransferSyntax.JPEGLSLossless,
    JPEG2000Lossless: gdcm.TransferSyntax.JPEG2000Lossless,
    JPEGLossless: gdcm.TransferSyntax.JPEGLosslessProcess14,
    JPEGLosslessSV1: gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    JPEGBaseline8Bit: gdcm.TransferSyntax.JPEGBaselineProcess1,
    UID("1.2.840.10008.1.2.4.51"): gdcm.TransferSyntax.JPEGExtendedProcess2_4,
}
EXTENDED = UID("1.2.840.10008.1.2.4.51")
UNCOMPRESSED = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)
KINDS = [(8, False), (10, False), (12, False), (14, False), (16, False), (12, True), (16, True)]


def film_of(kind: Kind) -> tuple[Stored, dict[str, Any], npt.NDArray[np.float64]]:
    """Stored values with every extreme and noise in them, the tags that describe them, and what they must show."""
    bits, signed = kind
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    values = np.random.default_rng(bits).integers(low, high, (50, 37), endpoint=True)
    values[10:40, 5:20] = np.linspace(low, high, 15).astype(int)  # smooth tissue
    values[0, :2] = low, high
    tags = {
        "BitsStored": bits, "HighBit": bits - 1, "WindowCenter": (low + high) / 2, "WindowWidth": high - low,
        "VOILUTFunction": "LINEAR_EXACT",
    }  # fmt: skip
    stored = values.astype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}")
    return stored, tags, (values - low) / (high - low)


def by_gdcm(plain: Path, target: Path, syntax: UID) -> Path:
    """The plain film in another transfer syntax."""
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(plain))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(GDCM_SYNTAXES[syntax]))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(target))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return target


def by_pydicom(plain: Path, target: Path, syntax: UID) -> Path:
    """The plain film in another transfer syntax."""
    dataset = pydicom.dcmread(plain)
    dataset.compress(syntax)
    dataset.save_as(target, enforce_file_format=True)
    return target


def uncompressed(stored: Stored, tags: dict[str, Any], target: Path, syntax: UID) -> Path:
    film = dicom_of(stored, syntax=syntax, **tags)
    dataset = Dataset()  # a FileDataset insists on the byte order in which it was made
    dataset.update(film)
    dataset.file_meta = film.file_meta
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = stored.astype(stored.dtype.newbyteorder(">")).tobytes()
    dataset.save_as(target, enforce_file_format=True)
    return target


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind[0]} bits{' signed' if kind[1] else ''}")
def test_one_film_in_every_lossless_syntax_shows_the_same_values_to_the_bit(tmp_path, kind):
    stored, tags, expected = film_of(kind)
    plain = write_dicom(tmp_path / "plain.dcm", stored, **tags)
    films = {f"plain {syntax.name}": uncompressed(stored, tags, tmp_path / f"{syntax}.dcm", syntax) for syntax in UNCOMPRESSED}
    for encode, syntaxes in (
        (by_pydicom, (RLELossless, JPEGLSLossless, JPEG2000Lossless)),
        (by_gdcm, (RLELossless, JPEGLSLossless, JPEG2000Lossless, JPEGLossless, JPEGLosslessSV1)),
    ):
        for syntax in syntaxes:
            films[f"{encode.__name__} {syntax.name}"] = encode(plain, tmp_path / f"{encode.__name__}{syntax}.dcm", syntax)
    shown = read_film(plain).pixels
    np.testing.assert_allclose(shown, expected, atol=1e-6)
    for name, path in films.items():
        film = read_film(path)
        np.testing.assert_array_equal(film.pixels, shown, err_msg=name)
        assert pydicom.dcmread(path).file_meta.TransferSyntaxUID.name == film.facts.transfer_syntax
        assert film.facts.decoder
    assert len(films) == 11


def test_a_film_is_the_same_film_by_its_pixels_whatever_its_syntax(tmp_path):
    stored, tags, _ = film_of((12, False))
    plain = write_dicom(tmp_path / "plain.dcm", stored, **tags)
    paths = [by_gdcm(plain, tmp_path / f"{syntax}.dcm", syntax) for syntax in (JPEGLosslessSV1, JPEGLSLossless, RLELossless)]
    with DecodePool(1) as pool:
        read = [result for _, result in pool.map(Job("facts", path) for path in [plain, *paths])]
    assert all(isinstance(result, FilmSummary) for result in read)
    assert len({result.pixel_sha256 for result in read}) == 1


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, EXTENDED], ids=lambda syntax: syntax.name[:13])
def test_8_bit_jpeg_shows_what_another_decoder_shows(tmp_path, syntax):
    stored = (drawn_film((120, 90)) * 255).round().astype(np.uint8)
    window = {"WindowCenter": 128, "WindowWidth": 256}
    path = by_gdcm(write_dicom(tmp_path / "plain.dcm", stored, **window), tmp_path / "jpeg.dcm", syntax)
    film = read_film(path)
    codestream = next(generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1))
    with Image.open(io.BytesIO(codestream)) as picture:
        reference = np.asarray(picture) / 255
    np.testing.assert_allclose(film.pixels, reference, atol=1.01 / 255)  # two decoders may round differently
    assert 0 < np.abs(film.pixels - stored / 255).mean() < 0.02
    assert (film.facts.transfer_syntax, film.facts.kind) == (syntax.name, "DICOM")


def test_a_baseline_jpeg_of_another_encoder_is_read(tmp_path):
    stored = (drawn_film((120, 90)) * 255).round().astype(np.uint8)
    packed = io.BytesIO()
    Image.fromarray(stored).save(packed, format="JPEG", quality=95)
    dataset = dicom_of(stored, WindowCenter=128, WindowWidth=256, syntax=JPEGBaseline8Bit)
    dataset.PixelData = encapsulate([packed.getvalue()])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(tmp_path / "film.dcm", enforce_file_format=True)
    with Image.open(packed) as picture:
        np.testing.assert_allclose(read_film(tmp_path / "film.dcm").pixels, np.asarray(picture) / 255, atol=1.01 / 255)


def test_near_lossless_jpeg_ls_stays_within_its_stated_error(tmp_path):
    stored, tags, expected = film_of((12, False))
    dataset = dicom_of(stored, **tags)
    dataset.compress(JPEGLSNearLossless, jls_error=3)
    dataset.save_as(tmp_path / "film.dcm", enforce_file_format=True)
    apart = np.abs(read_film(tmp_path / "film.dcm").pixels - expected).max() * 4095
    assert 0.5 < apart < 3.01


def test_a_film_in_several_fragments_is_read_as_one(tmp_path):
    stored, tags, expected = film_of((12, False))
    path = by_pydicom(write_dicom(tmp_path / "plain.dcm", stored, **tags), tmp_path / "film.dcm", JPEGLSLossless)
    dataset = pydicom.dcmread(path)
    (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
    dataset.PixelData = encapsulate([frame], fragments_per_frame=4)
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    np.testing.assert_allclose(read_film(path).pixels, expected, atol=1e-6)


def test_12_bit_jpeg_extended_is_named_with_what_to_do(tmp_path):
    stored, tags, _ = film_of((12, False))
    path = by_gdcm(write_dicom(tmp_path / "plain.dcm", stored, **tags), tmp_path / "film.dcm", EXTENDED)
    with pytest.raises(FilmUnreadable) as caught:
        read_film(path)
    assert "no decoder here reads its transfer syntax JPEG Extended (Process 2 and 4)" in str(caught.value)
    assert "Convert the film to an uncompressed or JPEG Lossless DICOM file" in str(caught.value)


def test_an_import_skips_what_no_decoder_reads_names_its_syntax_and_takes_the_rest(workspace, tmp_path):
    stored, tags, _ = film_of((12, False))
    root = tmp_path / "films"
    root.mkdir()
    plain = write_dicom(root / "plain.dcm", stored, **tags)
    encoders: dict[str, tuple[Callable[..., Path], UID]] = {
        "rle.dcm": (by_pydicom, RLELossless),
        "jls.dcm": (by_pydicom, JPEGLSLossless),
        "j2k.dcm": (by_pydicom, JPEG2000Lossless),
        "lossless.dcm": (by_gdcm, JPEGLosslessSV1),
        "extended.dcm": (by_gdcm, EXTENDED),
    }
    for name, (encode, syntax) in encoders.items():
        encode(plain, root / name, syntax)
    rows = [{"file": name, "patient": name, "label": "xy"[number % 2]} for number, name in enumerate(["plain.dcm", *encoders])]
    pd.DataFrame(rows).to_csv(root / "films.csv", index=False)
    dataset = import_dataset(workspace, understand(root), "syntaxes", readers=1)
    (lost,) = dataset.audit()["unreadable"]
    table = dataset.paths()
    assert table.loc[table["image_id"] == lost["image_id"], "path"].tolist() == ["extended.dcm"]
    assert "transfer syntax JPEG Extended (Process 2 and 4)" in lost["reason"]
    assert len(dataset.manifest()) == 5
    assert table.loc[table["sha256"] != "", "sha256"].nunique() == 1
