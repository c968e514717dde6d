"""A training log of another tool, dropped on the History page."""

from __future__ import annotations

ROWS = "epoch,loss,accuracy,val_loss,val_accuracy\n" + "".join(
    f"{epoch},{1 / (epoch + 1):.4f},{0.5 + 0.03 * epoch:.3f},{0.9 - 0.02 * epoch:.4f},{0.5 + 0.02 * epoch:.3f}\n"
    for epoch in range(12)
)


def _drop(open_page, name: str, content: bytes):
    page = open_page("history")
    page.file_uploader("foreign_file").upload(name, content).run()
    next(button for button in page.button if button.label == "Open history").click().run()
    return page


def test_home_offers_to_open_a_history_of_another_tool(open_page):
    assert "Open a history of another tool" in [button.label for button in open_page("home").button]


def test_a_keras_log_is_taken_over_charted_and_judged(open_page, workspace, read):
    page = _drop(open_page, "training_log.csv", ROWS.encode())
    assert not page.exception
    (run,) = [path.parent for path in workspace.imported.rglob("config.yaml")]
    page = open_page("history", {"run": f"{run.parent.name}/{run.name}"})
    assert not page.exception
    assert page.get("vega_lite_chart")
    assert (run.parent.name, run.name) == ("training_log", "training_log")
    assert "overfitted" in read(page)


def test_a_file_that_is_no_history_is_refused_and_leaves_nothing(open_page, workspace, read):
    page = _drop(open_page, "../../evil.csv", b"name,colour\nx,red\n")
    assert not page.exception
    assert page.error
    assert not list(workspace.imported.rglob("config.yaml"))
    assert not [path for path in workspace.home.iterdir() if path.name.startswith("tmp")]
