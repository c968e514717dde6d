"""Splits: the empty state, the live preview with its proof, saving, and splits that are there."""

from __future__ import annotations

from collections.abc import Callable

from streamlit.testing.v1 import AppTest

from mammo_core.data.splits import SplitPlan, load_split, save_split, split_dataset
from mammo_core.settings import Workspace
from mammo_core.storage import read_json, write_json

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
