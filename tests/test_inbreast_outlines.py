"""The outlines of INbreast, in made-up files of its layout: Apple property lists with points as text."""

from __future__ import annotations

import plistlib
from pathlib import Path

import pytest

import make_public_sets as sets
from mammo_core.data.adapters import ImportChoices, understand
from mammo_core.data.adapters.base import ImportPlan
from mammo_core.data.adapters.inbreast_outlines import MAX_BYTES, read_outlines
from mammo_core.data.manifest import load_dataset
from mammo_core.settings import Workspace
from mammo_core.workflows.ingest import import_dataset

FILM, OTHER = "20586908", "20586960"
HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<!DOCTYPE plist PUBLIC "-//Apple Computer//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">\n'
)
MASS = ["(10.25, 8.5)", "(20.000000, 9.75)", "(18.5, 30.2)"]


def roi(name: str, points: list[str]) -> dict[str, object]:
    """As OsiriX writes one, with the fields that nobody needs here."""
    in_mm = [f"({index}.0, 1.0, 0.0)" for index in range(len(points))]
    return {
        "Area": 1.5, "Center": "(nan, nan, nan)", "Dev": 0.0, "IndexInImage": 0, "Max": 3.0, "Mean": 2.0, "Min": 1.0,
        "Name": name, "NumberOfPoints": len(points), "Point_mm": in_mm, "Point_px": points, "Total": 0.0, "Type": 15,
    }  # fmt: skip


def write(folder: Path, film: str, *rois: dict[str, object], **facts: object) -> Path:
    path = folder / "AllXML" / f"{film}.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(plistlib.dumps({"Images": [{"ImageIndex": 0, "NumberOfROIs": len(rois), "ROIs": list(rois), **facts}]}))
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return sets.inbreast(tmp_path / "set").source


def plan_of(source: Path) -> ImportPlan:
    return understand(source, ImportChoices(task="density"))


def test_outlines_become_boxes_around_their_corners(source):
    write(source, FILM, roi("Mass", MASS), roi("Cluster", ["(1, 2)", "(3, 2)", "(3, 5)", "(1, 5)"]))
    write(source, OTHER, roi("Asymmetry", MASS))
    write(source, "99999999", roi("Mass", MASS))  # no film of the table
    plan = plan_of(source)
    boxes = plan.lesions.sort_values(["file", "top"])
    assert [name.split("/")[1][:8] for name in boxes["file"]] == [FILM, FILM, OTHER]
    assert boxes[["top", "left", "bottom", "right"]].to_numpy().tolist()[1] == [8.5, 10.25, 30.2, 20.0]
    assert set(boxes["pathology"]) == {""}, "BI-RADS is no pathology"
    assert plan.origins["lesions"] == "outlines in the folder AllXML"
    assert not plan.notes


def test_the_folder_may_lie_beside_the_films(source):
    write(source, FILM, roi("Mass", MASS))
    plan = understand(source / "INbreast.csv", ImportChoices(task="density", root=source / "AllDICOMs"))
    assert len(plan.lesions) == 1


def test_single_calcifications_are_no_boxes_and_are_counted(source):
    write(source, FILM, roi("Calcification", ["(5, 5)"]), roi("Calcification", ["(7, 5)"]), roi("Mass", MASS), roi("Mass", []))
    plan = plan_of(source)
    assert len(plan.lesions) == 1
    assert any(note.startswith("3 outline(s) are single points or lines") for note in plan.notes)


def test_boxes_reach_the_data_set_in_pixels_of_the_film(source, tmp_path):
    write(source, FILM, roi("Mass", MASS))
    write(source, OTHER, roi("Mass", ["(-5, -5)", "(900, 3)", "(7, 5)"]))
    workspace = Workspace(tmp_path / "runs")
    import_dataset(workspace, plan_of(source), "inbreast", readers=1)
    dataset = load_dataset(workspace, "inbreast")
    place = dataset.paths().set_index("image_id")["path"].str.split("/").str[1].str[:8]
    boxes = {place[image]: dataset.lesion_boxes(image) for image in dataset.manifest()["image_id"]}
    assert boxes[FILM] == ((8, 10, 23, 10),)
    assert boxes[OTHER] == ((0, 0, 5, sets.SHAPE[1]),)  # clipped to the film
    assert sum(len(found) for found in boxes.values()) == 2
    assert FILM not in (dataset.directory / "lesions.csv").read_text()


def test_a_stated_size_of_the_film_scales_the_boxes(source):
    write(source, FILM, roi("Mass", MASS), ImageHeight=2 * sets.SHAPE[0], ImageWidth=2 * sets.SHAPE[1])
    assert plan_of(source).lesions[["of_height", "of_width"]].to_numpy().tolist() == [[2.0 * side for side in sets.SHAPE]]


def billion_laughs() -> bytes:
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    body = "<plist version='1.0'><dict><key>Images</key><string>&a9;</string></dict></plist>"
    return f'<?xml version="1.0"?><!DOCTYPE plist [<!ENTITY a0 "lol">{entities}]>{body}'.encode()


def read_a_file(secret: Path) -> bytes:
    body = "<plist version='1.0'><dict><key>Images</key><string>&x;</string></dict></plist>"
    return f'<?xml version="1.0"?><!DOCTYPE plist [<!ENTITY x SYSTEM "{secret.as_uri()}">]>{body}'.encode()


DAMAGED = {
    "entities that grow": billion_laughs(),
    "cut off": (HEAD + "<plist version='1.0'><dict><key>Images</key><array>").encode(),
    "no XML": b"bplist00\x00\x01",
    "empty": b"",
    "no images": (HEAD + "<plist version='1.0'><dict/></plist>").encode(),
    "another shape": (HEAD + "<plist version='1.0'><array><string>x</string></array></plist>").encode(),
    "a strange encoding": b'<?xml version="1.0" encoding="no-such-code"?><plist/>',
    "a broken date": (HEAD + "<plist version='1.0'><dict><key>Images</key><date>today</date></dict></plist>").encode(),
    "deeply nested": (HEAD + "<plist>" + "<array>" * 50_000).encode(),
}


@pytest.mark.parametrize("kind", list(DAMAGED))
def test_a_damaged_or_hostile_file_is_counted_and_the_others_are_read(source, kind):
    write(source, FILM, roi("Mass", MASS))
    write(source, OTHER).write_bytes(DAMAGED[kind])
    plan = plan_of(source)
    assert len(plan.lesions) == 1
    assert "1 file(s) of lesion outlines cannot be read; their films have no lesion boxes." in plan.warnings


def test_no_other_file_is_opened(source, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("(1, 2)")
    write(source, FILM).write_bytes(read_a_file(secret))
    assert plan_of(source).lesions.empty


@pytest.mark.parametrize("corner", ["(1; 2)", "(nan, 2)", "(1, inf)", "(1, 2, 3)", "", 7])
def test_corners_that_are_no_numbers_make_the_file_unreadable(source, corner):
    write(source, FILM, roi("Mass", [*MASS, corner]))
    assert any("1 file(s) of lesion outlines cannot be read" in warning for warning in plan_of(source).warnings)


def test_a_file_of_unreasonable_size_is_not_opened(source):
    write(source, FILM, roi("Mass", MASS))
    with write(source, OTHER, roi("Mass", MASS)).open("ab") as file:
        file.truncate(MAX_BYTES + 1)
    found = read_outlines([source], {FILM: "a.dcm", OTHER: "b.dcm"})
    assert found.boxes["file"].tolist() == ["a.dcm"]
    assert len(found.warnings) == 1


def test_a_set_without_outlines_has_no_boxes(source):
    plan = plan_of(source)
    assert plan.lesions.empty
    assert "lesions" not in plan.origins
