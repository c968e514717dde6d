"""Training logs of other tools on the History page: understood, shown, corrected, and only then kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

ROWS = "epoch,loss,accuracy,val_loss,val_accuracy\n" + "".join(
    f"{epoch},{1 / (epoch + 1):.4f},{0.5 + 0.03 * epoch:.3f},{0.9 - 0.02 * epoch:.4f},{0.5 + 0.02 * epoch:.3f}\n"
    for epoch in range(12)
)
ODD = "epoch,kosten,accuracy\n" + "".join(f"{e},{1 / e:.4f},{0.5 + 0.02 * e:.3f}\n" for e in range(1, 13))


def _upload(open_page, *files: tuple[str, bytes]) -> AppTest:
    page = open_page("history")
    uploader = page.file_uploader("foreign_file")
    uploader.upload(files[0][0], files[0][1])
    for name, content in files[1:]:
        uploader.upload(name, content)
    return page.run()


def _by_path(open_page, path: Path) -> AppTest:
    page = open_page("history", {"foreign_source": "A path on this machine"})
    return page.text_input("foreign_path").set_value(str(path)).run()


def _keep(page: AppTest) -> AppTest:
    return next(button for button in page.button if button.label == "Open history").click().run()


def _runs(workspace) -> list[str]:
    return sorted(f"{path.parent.parent.name}/{path.parent.name}" for path in workspace.imported.rglob("config.yaml"))


def test_home_offers_to_open_a_history_of_another_tool(open_page):
    assert "Open a history of another tool" in [button.label for button in open_page("home").button]


def test_what_was_understood_is_shown_before_anything_is_kept(open_page, workspace, read):
    page = _upload(open_page, ("training_log.csv", ROWS.encode()))
    assert not page.exception
    text = read(page).replace("\\", "")
    assert "Keras CSVLogger: one history of 12 rows." in text
    assert "overfitted" in text
    table = next(frame.value for frame in page.dataframe if "column in the file" in frame.value.columns)
    assert dict(zip(table["meaning"], table["column in the file"], strict=True))["Validation loss"] == "val_loss"
    assert not _runs(workspace)


def test_a_keras_log_is_taken_over_charted_and_judged(open_page, workspace, read):
    page = _keep(_upload(open_page, ("training_log.csv", ROWS.encode())))
    assert not page.exception
    assert _runs(workspace) == ["training_log/training_log"]
    page = open_page("history", {"run": "training_log/training_log"})
    assert not page.exception
    assert page.get("vega_lite_chart")
    assert "overfitted" in read(page)


def test_a_wrongly_read_column_is_corrected_by_a_select_box(open_page, workspace, read):
    page = _upload(open_page, ("odd.csv", ODD.encode()))
    assert "There is no validation loss" in read(page)
    next(box for box in page.selectbox if box.label == "Validation loss").select("kosten").run()
    assert not page.exception
    assert "There is no validation loss" not in read(page)
    _keep(page)
    (run,) = workspace.imported.rglob("train_history.json")
    assert '"val_loss": 0.5' in run.read_text()


def test_several_files_become_runs_of_one_experiment_and_a_bad_one_is_refused_alone(open_page, workspace, read):
    files = [("a.csv", ROWS.encode()), ("b.csv", ROWS.encode()), ("c.csv", b"name,colour\nx,red\n")]
    page = _upload(open_page, *files)
    assert len(page.error) == 1
    assert "c.csv is no training history" in page.error[0].value.replace("\\", "")
    _keep(page)
    assert _runs(workspace) == ["a/a", "a/b"]


def test_a_file_that_holds_several_histories_says_so(open_page, read):
    rows = "".join(
        f"{model},{e},{1 / e + add},{1 / e + add + 0.1}\n" for model, add in (("vgg", 0), ("resnet", 1)) for e in range(1, 9)
    )
    page = _upload(open_page, ("all.csv", f"model,epoch,train_loss,val_loss\n{rows}".encode()))
    text = read(page)
    assert "2 histories, each of which becomes a run, of 8 + 8 rows" in text.replace("\\", "")
    assert "vgg, 8 rows" in text
    assert "resnet, 8 rows" in text


@pytest.mark.parametrize("name", ["../../evil.csv", "/etc/evil.csv", "C:\\evil.csv", "..", "evil\x00.csv"])
def test_a_file_that_is_no_history_is_refused_and_leaves_nothing(open_page, workspace, name):
    page = _upload(open_page, (name, b"name,colour\nx,red\n"))
    assert not page.exception
    assert page.error
    assert "Open history" not in [button.label for button in page.button]
    assert not _runs(workspace)
    assert not [path for path in workspace.home.iterdir() if path.name.startswith("tmp")]


def test_a_folder_or_file_is_opened_by_its_path(open_page, workspace, tmp_path):
    results = tmp_path / "results_1"
    results.mkdir()
    (results / "metrics.csv").write_text(ROWS)
    page = _keep(_by_path(open_page, results))
    assert not page.exception
    assert _runs(workspace) == ["results_1/results_1"]


def test_a_path_that_leads_nowhere_is_told_in_words(open_page, tmp_path):
    page = _by_path(open_page, tmp_path / "nothing.csv")
    assert not page.exception
    assert "There is no file or folder nothing.csv" in page.error[0].value.replace("\\", "")
