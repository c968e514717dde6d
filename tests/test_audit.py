"""The audit of a small hospital with everything wrong that an audit should find."""

import functools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mammo_core.data.adapters import understand
from mammo_core.data.audit_findings import findings_of, warnings_of
from mammo_core.data.exclusions import exclude, films_in_use, read_exclusions, take_back
from mammo_core.data.film_facts import read_facts
from mammo_core.data.flagged import audit_now, flagged_pairs
from mammo_core.data.manifest import Dataset, load_dataset
from mammo_core.data.near_pairs import decide, read_near, same_pairs
from mammo_core.data.splits import SplitPlan, check_against, check_trainable, save_split, split_dataset
from mammo_core.errors import DataError, SplitError
from mammo_core.report.audit_text import audit_markdown
from mammo_core.report.charts_audit import composition_chart, shortcut_chart
from mammo_core.settings import open_workspace
from mammo_core.storage import write_json
from mammo_core.workflows.audit import audit_dataset
from mammo_core.workflows.audit_figures import figures_of, write_audit_figures
from mammo_core.workflows.ingest import import_dataset, thumbnail_path
from test_duplicates import film as new_film

PATIENTS = 24
film = functools.cache(new_film)


def save(pixels, path):
    Image.fromarray(np.rint(np.asarray(pixels) * 255).astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    """24 women with one film each; vendor tells the class; three copies under other patients, a blank film, a broken one."""
    root = tmp_path_factory.mktemp("films")
    rows = []
    for number in range(PATIENTS):
        save(film(number), root / f"{number}.png")
        label = "AB"[number % 2]
        vendor = {"A": "Old", "B": "New"}[label]
        rows.append((f"{number}.png", f"woman {number}", label, str(number // 2 % 3), vendor, str(2015 + number // 4 % 3)))
    save(film(1), root / "same.png")
    rows.append(("same.png", "other 1", "A", "1", "Old", "2015"))  # woman 1 is a B
    save(film(4)[::2, ::2], root / "smaller.png")
    rows.append(("smaller.png", "other 4", "A", "0", "Old", "2016"))
    save(np.clip(film(6) ** 0.85, 0, 1)[:, ::-1], root / "mirrored.png")
    rows.append(("mirrored.png", "woman 6", "A", "2", "Old", "2017"))
    save(np.full((640, 512), 0.1), root / "blank.png")
    rows.append(("blank.png", "other b", "B", "0", "New", "2016"))
    (root / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    rows.append(("broken.png", "other c", "B", "0", "New", "2016"))
    pd.DataFrame(rows, columns=["file", "patient", "density", "center", "vendor", "year"]).to_csv(root / "films.csv", index=False)
    workspace = open_workspace(tmp_path_factory.mktemp("home") / "runs")
    import_dataset(workspace, understand(root), "hospital", readers=2)
    steps = []
    audit = audit_dataset(workspace, "hospital", progress=lambda done, total, message: steps.append(message))
    assert list(dict.fromkeys(steps))[-1] == "Done"
    return workspace, load_dataset(workspace, "hospital"), audit


def test_copies_are_found_confirmed_and_counted(hospital):
    _, dataset, audit = hospital
    near = read_near(dataset)
    assert near is not None
    assert near["confirmed"].tolist() == ["yes", "yes"]
    assert {key: audit["near_duplicates"][key] for key in ("confirmed", "across_patients", "label_conflicts")} == {
        "confirmed": 2,
        "across_patients": 1,
        "label_conflicts": 0,
    }
    assert audit["identical_films"] == audit["identical_with_different_labels"] == 1
    assert audit["identical_sets"][0]["labels"] == ["A", "B"]
    pairs = flagged_pairs(dataset)
    assert pairs["kind"].tolist() == ["same pixels", "same picture", "same picture"]
    assert pairs["same_label"].tolist() == [False, True, True]
    assert pairs["same_patient"].tolist() == [False, False, True]


def test_tables_flags_and_findings_name_what_is_wrong(hospital):
    _, dataset, audit = hospital
    assert audit["flags"]["blank"]["films"] == 1
    assert audit["class_by_year"]["A"].keys() == {"2015", "2016", "2017"}
    assert {"height": 640, "width": 512, "films": 27} in audit["sizes"]
    assert len(audit["unreadable"]) == 1
    assert audit["kinds"] == {"PNG": 28}
    assert audit["missing"]["view"] == 28
    assert audit["shortcut"]["warns"]
    assert audit["shortcut"]["carriers"][0] == "vendor"
    told = " ".join(item["sentence"] for item in warnings_of(dataset.record.warnings, audit))
    for part in ("different labels", "more than one patient", "look identical", "Shortcut", "show nothing", "cannot be read"):
        assert part in told
    assert told.count("same pixels") == 2  # what the import said of them is not said twice
    assert [item["severity"] for item in audit["findings"]] == sorted(
        (item["severity"] for item in audit["findings"]), key=["warning", "info", "ok"].index
    )


def test_what_is_written_holds_no_name_and_no_path(hospital):
    workspace, dataset, _ = hospital
    facts = read_facts(dataset)
    assert facts is not None
    assert len(facts) == 28
    for name in ("audit.json", "audit.md", "film_facts.csv", "near_duplicates.csv"):
        text = (dataset.directory / name).read_text()
        for secret in ("woman", "other 1", "mirrored", "smaller", str(dataset.root), str(workspace.home)):
            assert secret not in text, (name, secret)


def test_figures_lie_beside_the_audit_as_picture_and_drawing(hospital):
    _, dataset, audit = hospital
    stems = {"classes", "class_by_center", "class_by_vendor", "class_by_year", "image_sizes", "file_kinds", "bits", "shortcut"}
    assert {Path(name).stem for name in audit["figures"]} == stems  # nothing says view, side or device
    assert {Path(name).suffix for name in audit["figures"]} == {".png", ".svg"}
    assert {f"audit_figures/{path.name}" for path in (dataset.directory / "audit_figures").iterdir()} == set(audit["figures"])
    with Image.open(dataset.directory / "audit_figures" / "class_by_center.png") as picture:
        assert abs(picture.width - 85 / 25.4 * 300) < 1
        assert "28 films of 27 patients" in str(picture.info)
    drawing = (dataset.directory / "audit_figures" / "class_by_vendor.svg").read_text()
    assert "Share of class B by vendor: from 0% (Old) to 100% (New)." in drawing
    assert "![Class by center](audit_figures/class_by_center.png)" in (dataset.directory / "audit.md").read_text()


def test_figures_that_no_longer_apply_go_away(hospital):
    _, dataset, audit = hospital
    copy = Dataset(dataset.directory.with_name("copy"), dataset.record)
    copy.directory.mkdir()
    (copy.directory / "audit_figures").mkdir()
    for name in ("class_by_model.png", "mine.txt"):
        (copy.directory / "audit_figures" / name).touch()
    names = write_audit_figures(copy, {"class_by_view": {"A": {"unknown": 3}}, "shortcut": {"tested": False}})
    assert names == []
    assert [path.name for path in (copy.directory / "audit_figures").iterdir()] == ["mine.txt"]


def test_values_that_a_chart_cannot_show_are_counted_together():
    counts = {"A": {str(year): 2 for year in range(2000, 2016)}, "B": {str(year): 1 for year in range(2000, 2016)}}
    rows = composition_chart(counts, "Year", ["A", "B"]).to_dict()["data"]["values"]
    assert sum(row["films"] for row in rows) == 48
    assert {row["films"] for row in rows if row["value"] == "4 others"} == {8, 4}
    sizes = figures_of({"films": 50, "sizes": [{"height": 9, "width": 8, "films": 30}], "size_kinds": 2}, ("A",))
    shown = sizes["image_sizes"](300).to_dict()["data"]["values"]
    assert {row["value"]: row["films"] for row in shown} == {"9 x 8": 30, "others": 20}


def test_a_split_keeps_confirmed_copies_together_and_says_so(hospital):
    _, dataset, _ = hospital
    pairs = same_pairs(dataset)
    assert pairs is not None
    for seed in range(6):
        split = split_dataset(dataset, SplitPlan(seed=seed))
        place = split.table.set_index("image_id")["split"]
        assert all(place[one] == place[other] for one, other in pairs)
        proof = split.record.proof
        assert (proof.near_duplicates, proof.near_duplicates_shared, proof.near_duplicates_checked) == (2, 0, True)
        assert "0 near duplicates shared" in proof.text


def test_an_old_split_is_held_against_what_was_found_since(hospital):
    _, dataset, _ = hospital
    split = split_dataset(dataset, SplitPlan(seed=1))
    one, other = next(pair for pair in same_pairs(dataset) or () if len(set(_patients(dataset, pair))) == 2)
    table = split.table.copy()
    places = table.set_index("image_id")["split"]
    table.loc[table["image_id"] == other, "split"] = "test" if places[one] != "test" else "train"
    table["group_id"] = table["patient_id"]
    before = type(split)(table, split.record)
    check_trainable(before)  # by itself nothing is wrong: two patients in two parts
    with pytest.raises(SplitError, match="leaks: 1 groups of films that belong together|1 pairs of nearly identical films"):
        check_against(before, dataset)
    check_against(before, dataset, "to show what it does")


def _patients(dataset, images):
    return dataset.manifest().set_index("image_id").loc[list(images), "patient_id"].tolist()


def test_a_person_can_overrule_the_correlation(hospital):
    _, dataset, _ = hospital
    one, other = (same_pairs(dataset) or [])[0]
    decide(dataset, one, other, "different")
    try:
        assert (one, other) not in (same_pairs(dataset) or [])
        assert audit_now(dataset)["near_duplicates"]["confirmed"] == 1
    finally:
        decide(dataset, one, other, "")
    with pytest.raises(DataError, match="no such pair"):
        decide(dataset, other, one, "same")
    with pytest.raises(DataError, match="expected same, different"):
        decide(dataset, one, other, "maybe")


def test_a_second_audit_reads_no_film_and_keeps_decisions(hospital, monkeypatch):
    workspace, dataset, audit = hospital
    one, other = (same_pairs(dataset) or [])[0]
    decide(dataset, one, other, "same")
    moved = dataset.record.model_copy(update={"root": "/nowhere"})
    write_json(dataset.directory / "dataset.json", moved.to_json())
    try:
        again = audit_dataset(workspace, "hospital")
        assert read_near(dataset).set_index("image_id").loc[one, "decision"] == "same"  # type: ignore[union-attr]
    finally:
        write_json(dataset.directory / "dataset.json", dataset.record.to_json())
        decide(dataset, one, other, "")
    for key in ("flags", "near_duplicates", "shortcut", "sizes", "identical_sets"):
        assert again[key] == audit[key]


def test_lost_previews_are_made_again(hospital):
    workspace, dataset, audit = hospital
    image = dataset.manifest()["image_id"][0]
    thumbnail_path(workspace, "hospital", image).unlink()
    again = audit_dataset(workspace, "hospital")
    assert thumbnail_path(workspace, "hospital", image).is_file()
    assert again["near_duplicates"] == audit["near_duplicates"]


def test_films_that_are_nowhere_to_be_read_are_told(workspace, tmp_path):
    root = tmp_path / "films"
    root.mkdir()
    for number in range(4):
        save(film(number), root / f"{number}.png")
    table = pd.DataFrame({"file": [f"{n}.png" for n in range(4)], "patient": ["a", "b", "c", "d"], "density": ["A", "B"] * 2})
    table.to_csv(root / "films.csv", index=False)
    import_dataset(workspace, understand(root), "small", readers=1)
    (root / "0.png").rename(tmp_path / "0.png")
    for number in (1, 2, 3):
        (root / f"{number}.png").unlink()
    facts = load_dataset(workspace, "small").directory / "film_facts.csv"
    facts.unlink(missing_ok=True)
    with pytest.raises(DataError, match="Not one film of 'small' could be read .*relink"):
        audit_dataset(workspace, "small")


# ---- exclusions ---------------------------------------------------------------------------------------------------------------


def test_an_excluded_film_is_in_no_split_until_it_is_taken_back(hospital):
    workspace, dataset, audit = hospital
    blank = audit["flags"]["blank"]["image_ids"][0]
    exclude(dataset, [blank], "  No usable\npicture ")
    try:
        split = split_dataset(dataset, SplitPlan())
        assert blank not in set(split.table["image_id"])
        assert split.record.excluded == {"No usable picture": 1}
        assert "1 film(s) were excluded from the data set: No usable picture." in split.record.warnings
        assert split.record.proof.films_unplaced == 0
        written = save_split(workspace, "without_blank", split)
        content = json.loads((workspace.split("without_blank") / "split.json").read_text())
        assert content["excluded"] == written.record.excluded
        assert audit_now(dataset)["flags"]["blank"]["films"] == 0
        assert exclude(dataset, [blank], "again")["reason"].tolist() == ["No usable picture"]
    finally:
        assert take_back(dataset, [blank, "not there"]).empty
    assert len(films_in_use(dataset)) == 28
    assert blank in set(split_dataset(dataset, SplitPlan()).table["image_id"])


def test_an_excluded_copy_is_no_open_finding(hospital):
    _, dataset, _ = hospital
    films = flagged_pairs(dataset).iloc[0]
    exclude(dataset, [films["other_id"]], "Duplicate")
    try:
        assert audit_now(dataset)["identical_sets"] == []
        assert "different labels" not in " ".join(item["sentence"] for item in findings_of(audit_now(dataset)))
        assert flagged_pairs(dataset)["excluded"].tolist() == [0, 0, 1]
    finally:
        take_back(dataset, [films["other_id"]])


def test_exclusions_need_a_reason_a_film_and_leave_some(hospital):
    _, dataset, _ = hospital
    images = dataset.manifest()["image_id"].tolist()
    for films, reason, text in (
        (images[:1], " ", "No reason"),
        (["x"], "why", "no film 'x'"),
        (images, "why", "would leave no film"),
    ):
        with pytest.raises(DataError, match=text):
            exclude(dataset, films, reason)
    assert read_exclusions(dataset).empty


def test_a_damaged_list_of_exclusions_takes_nothing_back_silently(hospital):
    _, dataset, _ = hospital
    file = dataset.directory / "exclusions.csv"
    file.write_text("image_id\nx\n")
    try:
        with pytest.raises(DataError, match="lacks the column"):
            split_dataset(dataset, SplitPlan())
    finally:
        file.unlink()


# ---- words and figures ---------------------------------------------------------------------------------------------------------


def test_markdown_says_everything_and_reads_old_audits(hospital):
    _, _, audit = hospital
    text = audit_markdown(audit)
    for part in (
        "# Audit of the data set hospital",
        "Class and year",
        "Image sizes",
        "Shortcut test",
        "| vendor |",
        "Unreadable",
    ):
        assert part.lower() in text.lower()
    old = audit_markdown({"name": "old | one", "class_by_center": {"A": {"1": 3}}})
    assert "old \\| one" in old
    assert "| A | 3 |" in old
    assert audit_markdown({})


def test_the_shortcut_figure_names_its_finding_and_draws_every_column(hospital):
    _, dataset, audit = hospital
    chart = shortcut_chart(audit["shortcut"])
    assert chart.description == f"{audit['shortcut']['sentence']} Dashed line: 0.70."
    drawn = chart.to_dict()["layer"][1]["data"]["values"]
    assert [row["title"] for row in drawn] == ["all together", *(c["title"] for c in audit["shortcut"]["columns"])][: len(drawn)]
    shares = composition_chart(audit["class_by_vendor"], "Vendor", dataset.class_names)
    assert "Share of class B by vendor: from 0% (Old) to 100% (New)" in shares.description
    assert composition_chart({}, "Centre", ["A"]).description == "Centre: no films."
