"""Splits: the empty state, the live preview with its proof, saving, and splits that are there."""

from __future__ import annotations

from collections.abc import Callable

from streamlit.testing.v1 import AppTest

from mammo_core.data.exclusions import exclude
from mammo_core.data.splits import SplitPlan, load_split, save_split, split_dataset
from mammo_core.reading import read_json
from mammo_core.settings import Workspace
from mammo_core.storage import write_json, write_table

OpenPage = Callable[..., AppTest]
Read = Callable[[AppTest], str]


def button(app: AppTest, label: str):
    return next(item for item in app.button if item.label == label)


def test_without_films_the_page_leads_to_them(open_page: OpenPage, read: Read) -> None:
    app = open_page("splits")
    assert not app.exception
    assert "There is none yet" in read(app)
    assert "Bring films" in [item.label for item in app.button]


def test_the_preview_proves_that_no_patient_is_shared(open_page: OpenPage, read: Read, make_dataset: Callable) -> None:
    make_dataset("hospital")
    app = open_page("splits")
    assert not app.exception
    assert "0 of 40 patients shared" in read(app)
    assert "every class in every split" in read(app)
    classes, centers = (item.value for item in app.dataframe)
    assert classes.loc["All", "All"] == 40
    assert centers.loc["All"].tolist()[:3] == [16, 12, 12]


def test_a_saved_split_is_the_one_that_was_shown(
    open_page: OpenPage, read: Read, workspace: Workspace, make_dataset: Callable
) -> None:
    dataset = make_dataset("hospital")
    app = open_page("splits")
    app.number_input(key="splits_seed").set_value(7).run()
    button(app, "Save split").click().run()
    assert not app.exception
    expected = split_dataset(dataset, SplitPlan(seed=7, ratios=(70.0, 15.0, 15.0)))
    assert load_split(workspace, "hospital_stratified_7").table.equals(expected.table)
    assert "is saved" in read(app)
    assert "Train on this split" in [item.label for item in app.button]


def test_a_centre_can_be_held_out_and_folds_can_be_made(open_page: OpenPage, read: Read, make_dataset: Callable) -> None:
    make_dataset("hospital")
    app = open_page("splits", {"splits_scheme": "Hold out a centre"})
    assert not app.exception
    assert app.multiselect[0].value == ["3"]
    app = open_page("splits", {"splits_scheme": "k folds"})
    assert not app.exception
    assert "Fold 5" in app.dataframe[0].value.index


def test_shares_that_cannot_work_are_one_sentence(open_page: OpenPage, read: Read, make_dataset: Callable) -> None:
    make_dataset("hospital")
    app = open_page("splits")
    app.number_input(key="splits_val").set_value(90)
    app.number_input(key="splits_test").set_value(20).run()
    assert not app.exception
    assert app.error
    assert "Save split" not in [item.label for item in app.button]


def test_one_patient_only_is_one_sentence(open_page: OpenPage, read: Read, make_dataset: Callable) -> None:
    make_dataset("hospital", patients=1)
    app = open_page("splits")
    assert not app.exception
    assert "belong to one patient" in read(app)


def test_a_taken_name_is_refused_where_it_is_typed(
    open_page: OpenPage, read: Read, workspace: Workspace, make_dataset: Callable
) -> None:
    dataset = make_dataset("hospital")
    save_split(workspace, "mine", split_dataset(dataset, SplitPlan()))
    app = open_page("splits")
    next(item for item in app.text_input if item.label == "Name of the split").set_value("mine").run()
    assert "is taken" in read(app)
    assert button(app, "Save split").disabled


def test_a_leaking_proof_is_red_and_cannot_be_saved(
    open_page: OpenPage, read: Read, workspace: Workspace, make_dataset: Callable
) -> None:
    dataset = make_dataset("hospital")
    save_split(workspace, "leaky", split_dataset(dataset, SplitPlan()))
    record = read_json(workspace.split("leaky") / "split.json")
    record["proof"]["patients_shared"] = 2
    record["proof_text"] = "2 of 40 patients shared"
    write_json(workspace.split("leaky") / "split.json", record)
    app = open_page("splits")
    assert not app.exception
    assert any("2 of 40 patients shared" in item.value and item.value.startswith(":red[") for item in app.markdown)


def test_a_broken_split_is_told_and_the_others_go_on(
    open_page: OpenPage, read: Read, workspace: Workspace, make_dataset: Callable
) -> None:
    dataset = make_dataset("hospital")
    save_split(workspace, "good", split_dataset(dataset, SplitPlan()))
    save_split(workspace, "half", split_dataset(dataset, SplitPlan(seed=1)))
    (workspace.split("half") / "split.json").write_text("{")
    app = open_page("splits")
    assert not app.exception
    assert "**half**" in read(app)
    assert "**good**" in read(app)


def test_each_centre_in_turn_saves_one_split_a_centre(
    open_page: OpenPage, read: Read, workspace: Workspace, make_dataset: Callable
) -> None:
    make_dataset("hospital")
    app = open_page("splits", {"splits_scheme": "Each centre in turn"})
    assert not app.exception
    assert app.dataframe[0].value["Test centre"].tolist() == ["1", "2", "3"]
    button(app, "Save 3 splits").click().run()
    assert not app.exception
    for center in "123":
        assert load_split(workspace, f"hospital_each_without_{center}").record.holdout == [center]


def test_ways_that_the_films_do_not_allow_say_why(open_page: OpenPage, read: Read, make_dataset: Callable) -> None:
    make_dataset("hospital")
    app = open_page("splits")
    assert "By date" not in app.radio[0].options
    assert "they have no year" in read(app)


def test_films_with_a_year_can_be_split_by_date(
    open_page: OpenPage, read: Read, workspace: Workspace, make_dataset: Callable
) -> None:
    dataset = make_dataset("hospital")
    manifest = dataset.manifest()
    manifest["year"] = [str(2015 + int(patient[7:]) // 4 % 5) for patient in manifest["patient_id"]]
    write_table(dataset.directory / "manifest.csv", manifest)
    app = open_page("splits", {"splits_scheme": "By date"})
    assert not app.exception
    assert "from 2019 on" in read(app)
    app.selectbox(key="splits_after_hospital").set_value("2018").run()
    assert "from 2018 on" in read(app)
    button(app, "Save split").click().run()
    assert load_split(workspace, "hospital_date_42").record.after == "2018"


def test_an_import_waits_for_a_table(open_page: OpenPage, make_dataset: Callable) -> None:
    make_dataset("hospital")
    app = open_page("splits", {"splits_scheme": "Import"})
    assert not app.exception
    assert "Save split" not in [item.label for item in app.button]


def test_a_saved_split_says_what_has_become_known_since(
    open_page: OpenPage, read: Read, workspace: Workspace, make_dataset: Callable
) -> None:
    dataset = make_dataset("hospital")
    save_split(workspace, "old", split_dataset(dataset, SplitPlan()))
    exclude(dataset, ["film7R"], "blank")
    app = open_page("splits")
    assert "have been left out of the data set since" in read(app)
    assert "Make a new split" in read(app)


def test_a_leaking_import_is_red_and_saved_only_with_a_reason(
    open_page: OpenPage, read: Read, workspace: Workspace, make_dataset: Callable
) -> None:
    dataset = make_dataset("hospital")
    images = dataset.manifest()["image_id"].tolist()
    rows = [f"{image},{('train', 'val', 'test')[number % 3]}" for number, image in enumerate(images)]
    app = open_page("splits", {"splits_scheme": "Import"})
    app.file_uploader[0].set_value(("by_film.csv", "\n".join(["image_id,split", *rows]).encode(), "text/csv")).run()
    assert not app.exception
    assert any(item.value.startswith("### :red[") and "40 of 40 patients shared" in item.value for item in app.markdown)
    assert button(app, "Save split").disabled
    field = next(item for item in app.text_input if "only with a reason" in item.label)
    field.set_value("short").run()
    assert button(app, "Save split").disabled
    field = next(item for item in app.text_input if "only with a reason" in item.label)
    field.set_value("published split, for comparison").run()
    button(app, "Save split").click().run()
    assert load_split(workspace, "hospital_imported").record.override_reason == "published split, for comparison"
    assert "Used although it leaks" in read(app)
