"""What the README says in a real browser: no page asks anything of another machine."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from make_runs import write_run

pytestmark = [pytest.mark.browser, pytest.mark.slow]

HERE = {"localhost", "127.0.0.1", ""}
INLINE = {"data", "blob", "about"}


def test_no_request_leaves_this_machine(page, app_url, home):
    runs = [write_run(home.experiments / "asked" / f"seed_{seed}", seed=seed, epochs=6) for seed in (1, 2)]
    asked: list[str] = []

    def answer(route):
        address = urlsplit(route.request.url)
        if address.scheme in INLINE or address.hostname in HERE:
            route.continue_()
        else:
            asked.append(route.request.url)
            route.abort()

    page.context.route("**/*", answer)
    for place, title in (
        ("home", "MammoTrace"),
        (f"history?run={runs[0].id}", "History"),
        (f"compare?experiment={runs[0].id.partition('/')[0]}", "Compare"),
        (f"evaluate?run={runs[0].id}", "Evaluate"),
    ):
        page.goto(f"{app_url}/{place}")
        expect(page.get_by_role("heading", name=title, level=1)).to_be_visible(timeout=30_000)
        page.wait_for_timeout(700)  # icons and charts are fetched after the title
        icon = page.locator("link[rel*=icon]").first.get_attribute("href")
        assert urlsplit(icon).hostname in HERE | {None}
    assert asked == []
