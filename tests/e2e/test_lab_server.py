"""A lab server with a sign-in that really happens: our own provider on another site, a real browser, the app by its command."""

from __future__ import annotations

import json
import os

import pytest
from playwright.sync_api import expect

from make_lab_server import LAB, SECRET, written
from make_runs import write_run
from mammo_core.settings import open_workspace
from reliability.app_process import free_port, running_app
from reliability.server import connects
from reliability.sign_in_service import CLIENT, CLIENT_SECRET, sign_in_service

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ANNA = {"email": "anna@lab.example", "email_verified": True}
PAGES = ("home", "films", "splits", "train", "queue", "history", "compare", "evaluate", "gradcam", "predict", "models", "report")
expect.set_options(timeout=60_000)


def settings(port: int, service: str) -> str:
    """``localhost`` for the app and 127.0.0.1 for the provider are two sites to a browser."""
    auth = f"""
[auth]
redirect_uri = "http://localhost:{port}/oauth2callback"
cookie_secret = "{SECRET}"
client_id = "{CLIENT}"
client_secret = "{CLIENT_SECRET}"
server_metadata_url = "{service}/.well-known/openid-configuration"
"""
    return auth + LAB.replace("mammo.lab.example", "localhost")


def picture(page, name):
    """Kept where somebody wants to look at it."""
    if folder := os.environ.get("MAMMOTRACE_LOOK_AT"):
        page.wait_for_timeout(500)
        page.screenshot(path=f"{folder}/{name}.png")


def test_people_on_the_list_sign_in_and_nobody_else_sees_a_page(page, tmp_path):
    workspace = open_workspace(tmp_path / "runs")
    run = write_run(workspace.experiments / "hidden_experiment" / "seed_1", seed=1, epochs=3)
    port = free_port()
    with sign_in_service(**ANNA) as service:
        file = written(tmp_path, settings(port, service.url))
        with running_app(workspace, "--lab-server", str(file), port=port) as app:
            assert {address for address, _ in app.listening()} == {"127.0.0.1"}
            sign_in = page.get_by_role("button", name="Sign in", exact=True)

            # By no URL is there anything but the sign-in page.
            for place in PAGES:
                page.goto(f"{app.url}/{place}?run={run.id}")
                expect(sign_in).to_be_visible()
                assert "hidden_experiment" not in page.content() and page.get_by_test_id("stSidebarNav").count() == 0
            picture(page, "sign_in")
            assert not connects(app, "http://evil.example") and not connects(app, None)

            # Somebody with an account, but not on the list.
            service.person = {"email": "eve@evil.example", "email_verified": True}
            sign_in.click()
            expect(page.get_by_text("This address is not on the list")).to_be_visible()
            picture(page, "turned_away")
            page.goto(f"{app.url}/history?run={run.id}")
            expect(page.get_by_text("This address is not on the list")).to_be_visible()
            assert "hidden_experiment" not in page.content()
            page.get_by_role("button", name="Sign out").click()
            expect(sign_in).to_be_visible()

            # An address that the provider does not vouch for.
            service.person = {"email": "anna@lab.example", "email_verified": False}
            sign_in.click()
            expect(page.get_by_text("does not confirm")).to_be_visible()
            page.get_by_role("button", name="Sign out").click()

            # Anna, who stays in by other URLs and in a second tab.
            service.person = dict(ANNA)
            sign_in.click()
            expect(page.get_by_role("heading", name="MammoTrace")).to_be_visible()
            page.get_by_test_id("stSidebarNav").get_by_role("link", name="Queue").click()
            expect(page.get_by_text("hidden_experiment").first).to_be_visible()
            picture(page, "signed_in")
            second = page.context.new_page()
            second.goto(f"{app.url}/history?run={run.id}")
            expect(second.get_by_text("hidden_experiment").first).to_be_visible()
            cookies = "; ".join(f"{cookie['name']}={cookie['value']}" for cookie in page.context.cookies(app.url))

            # Off the list: the open page closes without a click. On again: she is back.
            text = file.read_text()
            file.write_text(text.replace("Anna@Lab", "Bea@Lab"))
            expect(second.get_by_text("This address is not on the list")).to_be_visible()
            file.write_text(text)
            second.goto(f"{app.url}/history?run={run.id}")
            expect(second.get_by_text("hidden_experiment").first).to_be_visible()

            # Signed out in one tab is signed out in the other; a copy of the cookie opens nothing.
            page.goto(f"{app.url}/queue")
            page.get_by_role("button", name="Sign out").click()
            expect(sign_in).to_be_visible()
            expect(second.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
            page.context.add_cookies(
                [{"name": n, "value": v, "url": app.url} for n, _, v in (c.partition("=") for c in cookies.split("; "))]
            )
            page.goto(f"{app.url}/history?run={run.id}")
            expect(sign_in).to_be_visible()
            assert "hidden_experiment" not in page.content()

            # An old token of the provider opens nothing.
            service.issued_ago = 11 * 3600
            sign_in.click()
            expect(page.get_by_text("Your session has ended")).to_be_visible()
            tried = app.tried()
    assert tried == []
    events = [json.loads(line)["event"] for line in (workspace.home / "access.log").read_text().splitlines()]
    assert events.count("signed in") >= 1 and events.count("turned away") >= 2
    assert SECRET not in app.log.read_text() and CLIENT_SECRET not in app.log.read_text()
