"""Phantom films as DICOM: complete objects, one picture whatever the polarity, and synthetic by every label."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import apply_voi_lut
from pydicom.uid import DigitalMammographyXRayImageStorageForPresentation, ExplicitVRLittleEndian, RLELossless

from mammo_core.data.phantom import PhantomFilm, make_patient, write_phantoms
from mammo_core.data.phantom.dicom_writer import film_dataset, write_dicom
from mammo_core.data.phantom.patient import draw_patient

SMALL = 200

# PS3.3 A.26: what the modules of the Digital Mammography X-Ray Image IOD ask for. Type 1 must have a value.
TYPE_1 = """
    StudyInstanceUID Modality SeriesInstanceUID PresentationIntentType ImageType SamplesPerPixel PhotometricInterpretation Rows
    Columns BitsAllocated BitsStored HighBit PixelRepresentation PixelData PixelIntensityRelationship
    PixelIntensityRelationshipSign RescaleIntercept RescaleSlope RescaleType PresentationLUTShape LossyImageCompression
    PatientOrientation BurnedInAnnotation WindowCenter WindowWidth ImageLaterality AnatomicRegionSequence ImagerPixelSpacing
    PositionerType OrganExposed ViewCodeSequence SOPClassUID SOPInstanceUID
"""
TYPE_2 = """
    PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime ReferringPhysicianName StudyID AccessionNumber
    SeriesNumber Manufacturer InstanceNumber AcquisitionContextSequence DetectorType
"""


@pytest.fixture(scope="module")
def by_center() -> dict[str, list[PhantomFilm]]:
    """One patient of each centre: the centres store and window differently."""
    first = {draw_patient(2, index).center.name: index for index in reversed(range(20))}
    return {center: make_patient(2, index, SMALL) for center, index in first.items()}


def _read_back(path: Path, dataset: Dataset) -> pydicom.FileDataset:
    write_dicom(path, dataset)
    return pydicom.dcmread(path)


def test_object_has_every_required_attribute(by_center: dict[str, list[PhantomFilm]], tmp_path: Path) -> None:
    assert set(by_center) == {"1", "2", "3"}
    for film in (film for films in by_center.values() for film in films):
        dataset = _read_back(tmp_path / "film.dcm", film_dataset(film, 2))
        assert (
            dataset.SOPClassUID == dataset.file_meta.MediaStorageSOPClassUID == DigitalMammographyXRayImageStorageForPresentation
        )
        assert [keyword for keyword in TYPE_1.split() if keyword not in dataset or dataset[keyword].is_empty] == []
        assert [keyword for keyword in TYPE_2.split() if keyword not in dataset] == []
        assert "ViewModifierCodeSequence" in dataset.ViewCodeSequence[0]


def test_header_says_what_the_film_is(by_center: dict[str, list[PhantomFilm]]) -> None:
    orientations = {("L", "CC"): "A\\R", ("L", "MLO"): "A\\FR", ("R", "CC"): "P\\L", ("R", "MLO"): "P\\FL"}
    for film in (film for films in by_center.values() for film in films):
        dataset = film_dataset(film, 2)
        assert (dataset.ImageLaterality, dataset.ViewPosition) == (film.laterality, film.view)
        assert "\\".join(dataset.PatientOrientation) == orientations[film.laterality, film.view]
        assert dataset.PixelSpacing[0] * SMALL == pytest.approx(256, abs=0.1)
        assert dataset.Manufacturer == film.vendor


def test_every_label_says_synthetic(by_center: dict[str, list[PhantomFilm]]) -> None:
    dataset = film_dataset(by_center["1"][0], 2)
    assert str(dataset.PatientName).startswith("SYNTHETIC^PHANTOM")
    assert dataset.ImageComments == dataset.PatientComments == "synthetic phantom, not a patient"
    assert "phantom" in dataset.Manufacturer
    assert "SYNTHETIC" in dataset.StudyDescription
    assert dataset.QualityControlSubject == dataset.QualityControlImage == "YES"


@pytest.mark.parametrize("rle", [False, True])
@pytest.mark.parametrize("center", ["1", "2", "3"])
def test_both_polarities_show_the_same_picture(
    by_center: dict[str, list[PhantomFilm]], center: str, rle: bool, tmp_path: Path
) -> None:
    film = by_center[center][1]
    plain = _read_back(tmp_path / "plain.dcm", film_dataset(film, 2, inverted=False, rle=rle))
    negative = _read_back(tmp_path / "negative.dcm", film_dataset(film, 2, inverted=True, rle=rle))
    assert (plain.PhotometricInterpretation, plain.PresentationLUTShape) == ("MONOCHROME2", "IDENTITY")
    assert (negative.PhotometricInterpretation, negative.PresentationLUTShape) == ("MONOCHROME1", "INVERSE")
    top = 2**plain.BitsStored - 1
    assert np.array_equal(plain.pixel_array, top - negative.pixel_array)
    assert np.array_equal(plain.pixel_array, film.pixels >> (16 - plain.BitsStored))
    shown = apply_voi_lut(plain.pixel_array, plain, index=0)
    shown_negative = top - apply_voi_lut(negative.pixel_array, negative, index=0)
    assert np.abs(shown - shown_negative).max() <= 1.0
    assert shown[film.breast_mask].std() > 0.05 * top


def test_transfer_syntax_is_the_one_asked_for(by_center: dict[str, list[PhantomFilm]], tmp_path: Path) -> None:
    film = by_center["1"][0]
    for rle, syntax in ((False, ExplicitVRLittleEndian), (True, RLELossless)):
        dataset = _read_back(tmp_path / "film.dcm", film_dataset(film, 2, rle=rle))
        assert dataset.file_meta.TransferSyntaxUID == syntax


def test_uids_are_valid_and_tell_films_patients_and_seeds_apart(by_center: dict[str, list[PhantomFilm]]) -> None:
    films = [film for films in by_center.values() for film in films]
    datasets = [film_dataset(film, seed) for seed in (2, 3) for film in films]
    uids = [uid for dataset in datasets for uid in (dataset.SOPInstanceUID, dataset.SeriesInstanceUID, dataset.StudyInstanceUID)]
    assert all(uid.is_valid and uid.startswith("2.25.") and len(uid) <= 64 for uid in uids)
    assert len({dataset.SOPInstanceUID for dataset in datasets}) == 24
    assert len({dataset.StudyInstanceUID for dataset in datasets}) == 6
    assert film_dataset(films[0], 2).SOPInstanceUID == datasets[0].SOPInstanceUID


def test_a_set_mixes_polarities_and_transfer_syntaxes(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "set", 12, 1, "dicom")
    headers = [pydicom.dcmread(path) for path in sorted((tmp_path / "set" / "films").glob("*.dcm"))]
    assert Counter(header.PhotometricInterpretation for header in headers) == {"MONOCHROME1": 2, "MONOCHROME2": 10}
    assert Counter(header.file_meta.TransferSyntaxUID for header in headers) == {RLELossless: 3, ExplicitVRLittleEndian: 9}
    assert len({header.PatientID for header in headers}) == 3
