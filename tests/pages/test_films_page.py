"""Films: the empty state, the three steps of an import, and one data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from streamlit.testing.v1 import AppTest

import make_public_sets
from mammo_core.reading import read_json
from mammo_core.runs.queue import list_requests, update
from mammo_core.settings import Workspace
from mammo_core.storage import write_json

OpenPage = Callable[..., AppTest]
Read = Callable[[AppTest], str]


def button(app: AppTest, label: str):
    return next(item for item in app.button if item.label == label)


def box(app: AppTest, label: str):
    return next(item for item in app.selectbox if item.label == label)


def folder_of_films(folder: Path, rows: dict[str, list[str]]) -> Path:
    """Small pictures ``0.png`` ... and ``labels.csv``."""
    folder.mkdir()
    count = len(next(iter(rows.values())))
    for number in range(count):
        Image.fromarray(np.full((40, 30), number * 20, np.uint8)).save(folder / f"{number}.png")
    pd.DataFrame({"file": [f"{number}.png" for number in range(count)], **rows}).to_csv(folder / "labels.csv", index=False)
    return folder


def type_source(app: AppTest, folder: Path) -> AppTest:
    return app.text_input(key="films_source").set_value(str(folder)).run()


def test_without_films_the_page_asks_where_they_are(open_page: OpenPage, read: Read) -> None:
    app = open_page("films")
    assert not app.exception
    assert "No films yet" in read(app)
    assert "Where are the films?" in read(app)


def test_a_folder_that_is_not_there_is_one_sentence(open_page: OpenPage, read: Read, tmp_path: Path) -> None:
    app = type_source(open_page("films"), tmp_path / "nowhere")
    assert not app.exception
    assert "There is no file or folder 'nowhere'" in read(app)


def test_what_was_understood_is_shown_and_the_import_is_queued(
    open_page: OpenPage, read: Read, workspace: Workspace, tmp_path: Path
) -> None:
    labels = {"density": ["A", "B", "A", "B", "unknown"], "patient": ["p1", "p1", "p2", "p3", "p4"]}
    app = type_source(open_page("films"), folder_of_films(tmp_path / "My films", labels))
    assert not app.exception
    text = read(app)
    assert "**4 films**" in text
    assert "A 2 · B 2" in text
    assert "Patients are taken from the table" in text
    assert any("1 rows or films are left out" in item.label for item in app.expander)
    button(app, "Import 4 films").click().run()
    (request,) = list_requests(workspace)
    assert request.kind == "import"
    assert request.arguments == {"source": str(tmp_path / "My films"), "choices": {}, "name": "My_films"}
    assert "You can leave this page" in read(app)


def test_a_wrong_column_can_be_corrected(open_page: OpenPage, read: Read, workspace: Workspace, tmp_path: Path) -> None:
    rows = {"finding": ["x", "y", "x", "y"], "patient": ["p1", "p2", "p3", "p4"]}
    app = type_source(open_page("films"), folder_of_films(tmp_path / "films", rows))
    assert app.error, "no column is called label"
    box(app, "Label").set_value("finding").run()
    assert not app.exception
    assert "x 2 · y 2" in read(app)
    button(app, "Import 4 films").click().run()
    (request,) = list_requests(workspace)
    assert request.arguments["choices"] == {"columns": {"label": "finding"}}


def test_a_failed_import_says_why_and_keeps_the_form(
    open_page: OpenPage, read: Read, workspace: Workspace, tmp_path: Path
) -> None:
    rows = {"density": ["A", "B"], "patient": ["p1", "p2"]}
    app = type_source(open_page("films"), folder_of_films(tmp_path / "films", rows))
    button(app, "Import 2 films").click().run()
    update(workspace, list_requests(workspace)[0].id, state="failed", message="None of the 2 films can be read.")
    app.run()
    assert not app.exception
    assert "None of the 2 films can be read." in read(app)
    assert "Import 2 films" in [item.label for item in app.button]


def test_a_data_set_shows_its_numbers_its_label_and_its_warnings(open_page: OpenPage, read: Read, make_dataset: Callable) -> None:
    make_dataset("hospital", synthetic=True, warnings=["3 film(s) have the same pixels as another one."])
    app = open_page("films")
    assert not app.exception
    text = read(app)
    assert "Films 80" in text
    assert "Patients 40" in text
    assert "Centres 3" in text
    assert "synthetic" in text
    assert "same pixels" in text


def test_films_without_a_thumbnail_say_so(open_page: OpenPage, read: Read, make_dataset: Callable) -> None:
    make_dataset("hospital")
    app = open_page("films", {"films_view": "Films"})
    assert not app.exception
    assert "20 films of class A" in read(app)
    assert "no preview" in read(app)
    assert "Reduced for display" in read(app)


def test_unreadable_films_are_listed_with_their_reason(open_page: OpenPage, make_dataset: Callable) -> None:
    dataset = make_dataset("hospital", unreadable=1)
    audit = read_json(dataset.directory / "audit.json")
    write_json(
        dataset.directory / "audit.json",
        {**audit, "unreadable": [{"image_id": "x1", "label": "A", "reason": "The film is damaged."}]},
    )
    app = open_page("films", {"films_view": "Unreadable"})
    assert not app.exception
    assert app.dataframe[0].value["Reason"].tolist() == ["The film is damaged."]


def test_a_broken_data_set_is_told_and_the_others_go_on(open_page: OpenPage, read: Read, make_dataset: Callable) -> None:
    make_dataset("good")
    (make_dataset("half").directory / "dataset.json").write_text('{"name": "ha')
    app = open_page("films")
    assert not app.exception
    assert "**half**" in read(app)
    assert "Films 80" in read(app)


def test_a_data_set_without_manifest_and_audit_is_told_in_words(open_page: OpenPage, read: Read, make_dataset: Callable) -> None:
    dataset = make_dataset("hospital")
    for name in ("manifest.csv", "audit.json"):
        (dataset.directory / name).unlink()
    for view in ("Classes and centres", "Films", "Audit", "Unreadable"):
        app = open_page("films", {"films_view": view})
        assert not app.exception, view
    assert "Films 80" in read(app)


def test_a_set_with_several_labels_asks_which_one_and_offers_them(open_page: OpenPage, read: Read, tmp_path: Path) -> None:
    made = make_public_sets.inbreast(tmp_path / "INbreast")
    app = type_source(open_page("films"), made.source)
    assert not app.exception
    assert not app.error
    assert "This set has several labels" in read(app)
    learnt = box(app, "What is to be learnt")
    assert list(learnt.options)[1:] == ["density", "lesion", "birads"]
    learnt.set_value("lesion").run()
    text = read(app)
    assert "Recognised as INbreast" in text
    assert "by the usual rule" in text
    told = next(table.value for table in app.dataframe if "From" in table.value)
    assert told.set_index("What")["From"]["Patient"] == "second part of the file's name"


def test_a_public_set_is_fetched_as_a_job_and_then_understood(
    open_page: OpenPage, read: Read, workspace: Workspace, tmp_path: Path
) -> None:
    app = open_page("films")
    box(app, "Public set").set_value("mini-mias").run()
    app.text_input(key="films_fetch_folder").set_value(str(tmp_path / "sets")).run()
    button(app, "Fetch").click().run()
    (request,) = list_requests(workspace)
    assert (request.kind, request.arguments) == ("fetch", {"name": "mini-mias", "out": str(tmp_path / "sets")})
    assert "You can leave this page" in read(app)
    made = make_public_sets.mias(tmp_path / "sets" / "mini-mias")
    update(workspace, request.id, state="done", result={"folder": str(made.source)})
    app.run()
    assert not app.exception
    assert "Recognised as" not in read(app)  # it asks what is to be learnt: lesion or tissue
    assert list(box(app, "What is to be learnt").options)[1:3] == ["lesion", "tissue"]
    assert app.text_input(key="films_source").value == str(made.source)


def test_films_may_lie_elsewhere_than_their_table(open_page: OpenPage, read: Read, workspace: Workspace, tmp_path: Path) -> None:
    films = folder_of_films(tmp_path / "films", {"density": ["A", "B"], "patient": ["p1", "p2"]})
    table = tmp_path / "tables" / "labels.csv"
    table.parent.mkdir()
    (films / "labels.csv").rename(table)
    app = type_source(open_page("films"), table)
    assert "No film was found" in read(app)
    app.text_input(key="films_root").set_value(str(films)).run()
    assert not app.exception
    button(app, "Import 2 films").click().run()
    (request,) = list_requests(workspace)
    assert request.arguments["choices"] == {"root": str(films)}


def test_what_the_import_noted_stands_beside_the_classes(open_page: OpenPage, read: Read, make_dataset) -> None:
    facts = {
        "notes": ["View markers are burnt into these films."],
        "label_words": "ACR 1 to 4 is density A to D.",
        "label_map": {"1": "A", "2": "B", "3": "C", "4": "D", "9": None},
        "word_counts": {"1": 20, "2": 20, "3": 20, "4": 20, "9": 3},
        "left_out": [{"reason": "the label '9' stands for no class", "count": 3}],
        "origins": {"patient": "second part of the file's name"},
    }
    make_dataset("hospital", **facts)
    app = open_page("films")
    assert not app.exception
    text = read(app).replace("\\", "")
    for words in (*facts["notes"], facts["label_words"], "Left out at import", "3: the label '9' stands for no class"):
        assert words in text
    labels = next(frame.value for frame in app.dataframe if "In the source" in frame.value.columns)
    assert labels.to_numpy().tolist() == [["1", "A", 20], ["2", "B", 20], ["3", "C", 20], ["4", "D", 20], ["9", "left out", 3]]
    origins = next(frame.value for frame in app.dataframe if "From" in frame.value.columns)
    assert origins.to_numpy().tolist() == [["Patient", "second part of the file's name"]]


def test_labels_that_are_called_as_they_were_need_no_table(open_page: OpenPage, read: Read, make_dataset) -> None:
    make_dataset("hospital", label_map={name: name for name in "ABCD"})
    app = open_page("films")
    assert not app.exception
    assert "Labels as they were stored" not in read(app)
    make_dataset("older", label_map={"1": "A", "2": "B"})  # imported before films were counted by label
    app = open_page("films", {"films_data": "older"})
    assert not app.exception
