"""What the views of the Grad-CAM page share: asking for a check or gallery, following it, and its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import streamlit as st

from mammo_core.errors import MammoError
from mammo_core.explain.methods import methods_of
from mammo_core.runs.map_checks import Failure, LocalisationRecord, SanityRecord, read_check
from mammo_core.runs.queue import enqueue, list_requests
from mammo_core.runs.run_dir import RunDir
from mammo_core.runs.schema import Request
from mammo_core.settings import Workspace
from mammo_core.workflows.map_records import check_lines, is_outdated, part_title
from mammo_core.workflows.overview import plural
from pages.shared.frame import plain
from pages.shared.job_progress import OPEN_STATES, follow_job
from pages.shared.run_files import Stamp, stamp

Record = TypeVar("Record", LocalisationRecord, SanityRecord)

VIEWS = {"sanity": "Sanity check", "localisation": "Localisation"}
"""Check -> the name of its view, which stands in the URL."""
METHOD_KEY = "gradcam_method"
MOST_FAILURES = 10


@dataclass(frozen=True)
class Asked:
    """What a view is about, and what the job behind it is called."""

    workspace: Workspace
    run: RunDir
    on: str
    method: str
    kind: str
    """Of the request: ``gallery``, ``localisation`` or ``sanity``."""

    def latest(self) -> Request | None:
        """The newest request for just this."""
        wanted = {"run": self.run.id, "on": self.on, "method": self.method}
        requests = [
            request
            for request in list_requests(self.workspace)
            if request.kind == self.kind and wanted.items() <= request.arguments.items()
        ]
        return max(requests, key=lambda request: request.created_at, default=None)

    def enqueue(self, title: str, further: Mapping[str, Any]) -> None:
        arguments = {"run": self.run.id, "on": self.on, "method": self.method, **further}
        enqueue(self.workspace, self.kind, arguments, f"{title} of {self.run.id}")


def choose_method(run: RunDir) -> str:
    """How the maps are made, among the methods that the run's architecture has a layer for."""
    titles = methods_of(run.config().arch)
    return str(
        st.selectbox("Method", list(titles), format_func=titles.__getitem__, key=METHOD_KEY, bind="query-params", width=260)
    )


def is_under_way(asked: Asked) -> bool:
    request = asked.latest()
    return request is not None and request.state in OPEN_STATES


def follow(asked: Asked, sentence: str) -> None:
    """The progress of the job, or in words why the last one failed."""
    request = asked.latest()
    if request is None:
        return
    if request.state in OPEN_STATES:
        follow_job(request, f"{sentence} You can leave this page.")
    elif request.state == "failed":
        show = st.warning if request.result else st.error
        show(plain(request.message), icon=":material/warning:" if request.result else ":material/error:")


def record_at(path: Path, model: type[Record]) -> Record | None:
    """The record, read again only when its file changed; a broken one is told in words and counts as none."""
    try:
        return _record(str(path), model, stamp(path))
    except MammoError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return None


@st.cache_data(max_entries=16, show_spinner=False)
def _record(path: str, model: type[Record], version: Stamp) -> Record | None:
    return read_check(Path(path), model)


def note_if_outdated(record: LocalisationRecord | SanityRecord, run: RunDir) -> None:
    if is_outdated(record, run):
        st.warning(
            f"This was made with the weights of epoch {record.epoch}; the run's best epoch is another one by now. Make it again.",
            icon=":material/history:",
        )


def show_failures(failures: list[Failure], sentence: str) -> None:
    """Films that are missing from the numbers, each with its reason."""
    if not failures:
        return
    st.warning(f"{plural(len(failures), 'film')} {sentence}", icon=":material/warning:")
    for failure in failures[:MOST_FAILURES]:
        st.caption(plain(f"{failure.image}: {failure.error}"))
    if len(failures) > MOST_FAILURES:
        st.caption(f"And {len(failures) - MOST_FAILURES} more.")


def show_check_lines(workspace: Workspace, run: RunDir, on: str, method: str) -> None:
    """Under a map: what the checks of such maps have shown, and where to read more."""
    titles = {"sanity": "Sanity check of this run", "localisation": "Localisation of this run"}
    signs = {"sanity": ":material/fact_check:", "localisation": ":material/my_location:"}
    query = {"gradcam_run": run.id, "gradcam_on": part_title(on), METHOD_KEY: methods_of()[method]}
    for check, words in check_lines(workspace, run, on, method).items():
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"{signs[check]} {titles[check]}: {plain(words)}.", width="content")
            st.page_link(
                "pages/gradcam.py",
                label=VIEWS[check],
                icon=":material/arrow_forward:",
                query_params=query | {"gradcam_view": VIEWS[check]},
                width="content",
            )
