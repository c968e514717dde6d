"""Pages under Streamlit's AppTest, each in a workspace of its own in which nothing is started."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT, ROOT / "tests"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from streamlit.runtime.pages_manager import PagesManager  # noqa: E402
from streamlit.testing.v1 import AppTest, app_test  # noqa: E402

from installed_components import look_once  # noqa: E402
from mammo_core.data.manifest import Dataset, DatasetRecord, count, load_dataset  # noqa: E402
from mammo_core.settings import Workspace  # noqa: E402
from mammo_core.storage import lock_of, write_json, write_table  # noqa: E402
from mammo_core.workflows import supervisor  # noqa: E402

OpenPage = Callable[..., AppTest]
look_once()


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


class _AppOnly(PagesManager):
    """Runs every page through ``app.py``, as a server does once its navigation has been drawn.

    AppTest forgets that before each run and would run a page file by itself.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        PagesManager.uses_pages_directory = False


@pytest.fixture
def open_page(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> OpenPage:
    """``open_page("films", query)`` -> the page as it stands after its first run."""
    monkeypatch.setattr(app_test, "PagesManager", _AppOnly)

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


CLASSES = ("A", "B", "C", "D")


@pytest.fixture
def make_dataset(workspace: Workspace) -> Callable[..., Dataset]:
    """``make_dataset("hospital", patients=40)`` -> a data set as an import leaves it, two films a patient, no files."""

    def make(name: str = "hospital", patients: int = 40, **facts: Any) -> Dataset:
        folder = workspace.datasets / name
        folder.mkdir(parents=True)
        rows = [
            {
                "image_id": f"film{patient}{side}",
                "patient_id": f"patient{patient}",
                "exam_id": f"exam{patient}",
                "laterality": side,
                "view": "CC",
                "center": str(patient // len(CLASSES) % 3 + 1),
                "vendor": "maker",
                "label": CLASSES[patient % len(CLASSES)],
            }
            for patient in range(patients)
            for side in "LR"
        ]
        manifest = pd.DataFrame(rows)
        paths = pd.DataFrame({"image_id": manifest["image_id"], "path": manifest["image_id"] + ".png"})
        write_table(folder / "manifest.csv", manifest)
        write_table(folder / "paths.csv", paths.assign(mask_path="", sha256=manifest["image_id"]))
        record = DatasetRecord(
            name=name,
            root=str(workspace.home / "films"),
            adapter="table",
            task="density",
            class_names=list(CLASSES),
            ordinal=True,
            counts=count(manifest, CLASSES),
            patient_statement="Patients are taken from the table.",
            **facts,
        )
        write_json(folder / "dataset.json", record.to_json())
        centers = pd.crosstab(manifest["label"], manifest["center"])
        write_json(folder / "audit.json", {"class_by_center": centers.T.to_dict(), "unreadable": []})
        return load_dataset(workspace, name)

    return make
