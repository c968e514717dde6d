"""Films: the audit, films that look the same, flagged films, and leaving films out."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
from streamlit.testing.v1 import AppTest

from mammo_core.data.exclusions import exclude, read_exclusions
from mammo_core.data.manifest import Dataset
from mammo_core.data.near_pairs import NEAR_COLUMNS
from mammo_core.reading import read_json
from mammo_core.runs.queue import list_requests, update
from mammo_core.settings import Workspace
from mammo_core.storage import write_json, write_table

OpenPage = Callable[..., AppTest]
Read = Callable[[AppTest], str]

SHORTCUT = {
    "tested": True, "warns": True, "threshold": 0.7, "films": 80, "groups": 40, "folds": 5, "method": "so", "auc": 0.81,
    "ci_low": 0.74, "ci_high": 0.88, "sentence": "Shortcut: metadata alone tell the class, mostly vendor.",
    "carriers": ["vendor"],
    "columns": [{"column": "vendor", "title": "vendor", "auc": 0.8, "ci_low": 0.7, "ci_high": 0.9}],
    "tables": {"vendor": {"maker": {"A": 20, "B": 20, "C": 20, "D": 20}}},
}  # fmt: skip


def button(app: AppTest, label: str):
    return next(item for item in app.button if item.label == label)


def labels(app: AppTest) -> list[str]:
    return [item.label for item in app.button]


def audited(dataset: Dataset) -> Dataset:
    """As a full audit leaves a data set: one pair of two patients, one of one patient, a blank film, a shortcut."""
    near = [
        ("film0L", "film1L", "2", "0.9931", "yes", ""),
        ("film3L", "film3R", "4", "0.9612", "no", ""),
    ]
    write_table(dataset.directory / "near_duplicates.csv", pd.DataFrame(near, columns=list(NEAR_COLUMNS)))
    counts = {"confirmed": 1, "across_patients": 1, "label_conflicts": 1, "alike": 1}
    write_json(
        dataset.directory / "audit.json",
        {
            **read_json(dataset.directory / "audit.json"), "audited_at": "now", "shortcut": SHORTCUT, "identical_sets": [],
            "near_duplicates": {"searched": True, "films": 80, "candidates": 2, "not_compared": 0, **counts},
            "flags": {"blank": {"films": 1, "image_ids": ["film7R"]}, "marks": {"films": 0, "image_ids": []}},
            "sizes": [{"height": 640, "width": 512, "films": 80}], "size_kinds": 1,
            "figures": ["audit_figures/classes.png", "audit_figures/classes.svg"],
        },
    )  # fmt: skip
    return dataset


def test_the_full_audit_is_asked_for_and_followed(open_page: OpenPage, read: Read, workspace: Workspace, make_dataset) -> None:
    make_dataset("hospital")
    app = open_page("films", {"films_view": "Audit"})
    button(app, "Audit these films").click().run()
    assert not app.exception
    (request,) = list_requests(workspace)
    assert (request.kind, request.arguments) == ("audit", {"dataset": "hospital"})
    assert "You can leave this page" in read(app)
    assert "Audit these films" not in labels(app)
    update(workspace, request.id, state="failed", message="Not one film could be read.")
    app.run()
    assert "The last audit ended: Not one film could be read." in read(app)
    assert "Audit these films" in labels(app)


def test_findings_lead_to_where_they_can_be_looked_at(open_page: OpenPage, read: Read, make_dataset) -> None:
    audited(make_dataset("hospital"))
    app = open_page("films")
    text = read(app)
    assert "of different patients look identical" in text
    assert "metadata alone tell the class" in text
    review = [item for item in app.button if item.label == "Review"]
    assert len(review) == 4
    review[0].click().run()
    assert not app.exception
    assert "2 pairs to look at" in read(app)


def test_the_audit_shows_what_tells_the_class(open_page: OpenPage, read: Read, make_dataset) -> None:
    audited(make_dataset("hospital"))
    app = open_page("films", {"films_view": "Audit"})
    assert not app.exception
    text = read(app)
    assert "Can the file alone tell the class?" in text
    assert "80 films in 40 groups" in text
    assert "2 figures (PNG and SVG) lie in the folder datasets/hospital/audit_figures of the workspace." in text.replace("\\", "")
    assert any("Height" in frame.value.columns for frame in app.dataframe)


def test_a_pair_is_shown_and_one_film_left_out_and_taken_back(open_page: OpenPage, read: Read, make_dataset) -> None:
    dataset = audited(make_dataset("hospital"))
    app = open_page("films", {"films_view": "Duplicates"})
    assert not app.exception
    table = app.dataframe[0].value
    assert table["Labels"].tolist() == ["A / B", "D"]
    assert table["Patients"].tolist() == ["two", "one"]
    assert "Of two different patients, labels A and B" in read(app)
    button(app, "Leave the right film out").click().run()
    assert read_exclusions(dataset)["image_id"].tolist() == ["film1L"]
    assert app.dataframe[0].value["Decision"].tolist() == ["", "left out"]  # what is dealt with goes to the end
    app = open_page("films", {"films_view": "Duplicates"})
    assert "look identical" not in read(app)


def test_films_that_nobody_compared_offer_the_search(open_page: OpenPage, read: Read, make_dataset) -> None:
    make_dataset("hospital")
    app = open_page("films", {"films_view": "Duplicates"})
    assert not app.exception
    assert "Search for films that look identical" in labels(app)


def test_a_flagged_film_is_left_out_with_a_reason_and_comes_back(open_page: OpenPage, read: Read, make_dataset) -> None:
    dataset = audited(make_dataset("hospital"))
    app = open_page("films", {"films_view": "Flagged"})
    assert not app.exception
    button(app, "Leave out").click().run()
    assert read_exclusions(dataset)[["image_id", "reason"]].to_numpy().tolist() == [["film7R", "No usable picture"]]
    assert "1 film left out" in read(app) or any("1 film left out" in item.label for item in app.expander)
    button(app, "Take back").click().run()
    assert read_exclusions(dataset).empty


def test_a_split_of_these_films_says_what_is_out(open_page: OpenPage, read: Read, make_dataset) -> None:
    dataset = audited(make_dataset("hospital"))
    exclude(dataset, ["film7R"], "blank")
    app = open_page("splits")
    assert not app.exception
    text = read(app)
    assert "1 film left out" in text
    assert "0 near duplicates shared" in text
    assert "excluded from the data set" in text
