"""The gate of a lab server: no page is drawn for anybody who is not on the list, by whatever URL they come."""

from __future__ import annotations

import json
import time

import pytest

from make_lab_server import AUTH, LAB, written
from make_runs import write_run
from mammo_core.runs import queue
from mammo_core.workflows.lab_server import LAB_VARIABLE

PAGES = (
    *("home", "films", "splits", "train", "queue", "history", "compare", "evaluate", "gradcam", "predict", "models", "report"),
)
ANNA = {"is_logged_in": True, "email": "anna@lab.example", "email_verified": True, "sub": "1", "iss": "i"}


@pytest.fixture
def lab(tmp_path, monkeypatch):
    path = written(tmp_path, AUTH + LAB)
    monkeypatch.setenv(LAB_VARIABLE, str(path))
    yield path
    queue.name_who_asks(str)


@pytest.fixture
def open_as(open_page, lab, workspace):
    """``open_as("films", person)``; whatever a page would show of this run must not be seen."""
    write_run(workspace.experiments / "hidden_experiment" / "seed_1", seed=1, epochs=3)

    def open_(name, **person):
        app = open_page("home") if name == "home" else open_page(name, {"run": "hidden_experiment/seed_1"})
        app.user = {"iat": time.time() - 60, **person} if person else {"is_logged_in": False}
        return app.run()

    return open_


def events(workspace):
    log = workspace.home / "access.log"
    return [(line["event"], line["email"]) for line in map(json.loads, log.read_text().splitlines())] if log.exists() else []


@pytest.mark.parametrize("name", PAGES)
def test_no_page_is_drawn_for_somebody_who_has_not_signed_in(open_as, read, workspace, name):
    page = open_as(name)
    assert not page.exception
    assert [button.label for button in page.button] == ["Sign in"]
    assert "hidden_experiment" not in read(page) and not page.sidebar.button and not page.dataframe
    assert events(workspace) == []


def test_somebody_off_the_list_is_told_and_can_sign_out_and_is_noted_once(open_as, read, workspace):
    page = open_as("history", **{**ANNA, "email": "eve@evil.example"})
    page.run()
    assert "not on the list" in page.error[0].value and [button.label for button in page.button] == ["Sign out"]
    assert "eve" in read(page) and "hidden_experiment" not in read(page)
    assert events(workspace) == [("turned away", "eve@evil.example")]


def test_somebody_on_the_list_sees_the_app_and_can_sign_out(open_as, read, workspace):
    page = open_as("history", **ANNA)
    assert not page.exception and "History" in [title.value for title in page.title]
    assert "Sign out" in [button.label for button in page.sidebar.button]
    assert events(workspace) == [("signed in", "anna@lab.example")]


def test_a_session_that_grew_old_or_lost_its_place_ends_with_the_next_click(open_as, lab):
    page = open_as("home", **ANNA)
    assert page.sidebar.button
    text = lab.read_text()
    lab.write_text(text.replace("Anna@Lab", "Bea@Lab"))
    page.run()
    assert "not on the list" in page.error[0].value
    lab.write_text(text)
    page.user = {**ANNA, "iat": time.time() - 11 * 3600}
    page.run()
    assert "session has ended" in page.info[0].value and [button.label for button in page.button] == ["Sign in"]


def test_settings_that_cannot_be_read_close_the_app_without_naming_a_path(open_as, lab, read):
    page = open_as("home", **ANNA)
    lab.write_text("broken")
    page.run()
    assert "nobody may come in" in page.error[0].value and str(lab.parent) not in read(page) and not page.button


def test_a_request_names_who_asked(open_page, lab, workspace):
    page = open_page("home")
    page.user = {"iat": time.time() - 60, **ANNA}
    page.run()
    next(button for button in page.button if "demo films" in button.label).click().run()
    assert [request.asked_by for request in queue.list_requests(workspace)] == ["anna@lab.example"]


def test_on_a_desktop_there_is_no_gate(open_page):
    page = open_page("home")
    assert not page.exception and "Sign out" not in [button.label for button in page.sidebar.button]
