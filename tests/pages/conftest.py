"""Pages under Streamlit's AppTest, each in a workspace of its own in which nothing is started."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT, ROOT / "tests"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from streamlit.testing.v1 import AppTest  # noqa: E402

from mammo_core.settings import Workspace  # noqa: E402
from mammo_core.storage import lock_of  # noqa: E402
from mammo_core.workflows import supervisor  # noqa: E402

OpenPage = Callable[..., AppTest]


@pytest.fixture
def workspace(workspace: Workspace) -> Iterator[Workspace]:
    """An empty workspace whose queue nobody serves.

    The test holds the supervisor's lock, as another server would: the app's own supervisor thread waits for it, so that a
    request stays as the page wrote it. The thread is ended afterwards.
    """
    lock = lock_of(workspace.supervisor_lock)
    lock.acquire(timeout=0)
    yield workspace
    thread = supervisor._supervisors.pop(str(workspace.home), None)
    if thread is not None:
        thread.stop()
    lock.release()


@pytest.fixture
def open_page(workspace: Workspace) -> OpenPage:
    """``open_page("films", query)`` -> the page as it stands after its first run."""

    def open_(name: str, query: dict[str, str] | None = None) -> AppTest:
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=30)
        for key, value in (query or {}).items():
            app.query_params[key] = value
        if name != "home":
            app.switch_page(f"pages/{name}.py")
        return app.run()

    return open_


@pytest.fixture
def read() -> Callable[[AppTest], str]:
    """``read(app)`` -> everything that stands on the page, as text."""
    return _words


def _words(app: AppTest) -> str:
    kinds = ("title", "header", "subheader", "markdown", "caption", "info", "warning", "error", "success", "text", "code")
    parts = [element.value for kind in kinds for element in getattr(app, kind)]
    parts += [button.label for button in app.button]
    parts += [f"{metric.label} {metric.value}" for metric in app.metric]
    return "\n".join(map(str, parts))
