"""R10: the server's memory while sessions poll a live run, thousands of times.

The sessions are real ones, over the WebSocket that a browser opens: they take what the server sends and ask for the parts of the
page that run by themselves, as the browser does every two seconds, only without the two seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect

from make_runs import write_run
from mammo_core.settings import open_workspace
from mammo_core.storage import lock_of, write_json
from reliability.app_process import RunningApp, running_app
from reliability.findings import Finding

SESSIONS = 3
SETTLED = 100
"""Polls after which the memory is taken for the first time."""
EPOCH_EVERY = 50
"""Polls between two epochs of the run that is looked at."""
GROWTH_MIB = 50.0
SLOPE_MIB = 5.0
"""Growth of a straight line through the second half, over that half."""
SECONDS = 60.0


@dataclass
class Session:
    """One tab: its socket, and the parts of its page that run by themselves."""

    socket: ClientConnection
    query: str
    parts: list[str] = field(default_factory=list)
    page: str = ""

    def run(self, part: str = "") -> None:
        """Ask for the page, or for one part of it, and take all that comes until it is drawn."""
        message = BackMsg()
        message.rerun_script.query_string = self.query
        message.rerun_script.page_script_hash = self.page
        message.rerun_script.page_name = "" if self.page else "history"
        if part:
            message.rerun_script.fragment_id = part
            message.rerun_script.is_auto_rerun = True
        self.socket.send(message.SerializeToString())
        whole = not part
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            received = ForwardMsg()
            received.ParseFromString(self.socket.recv(timeout=SECONDS))  # type: ignore[arg-type]
            kind = received.WhichOneof("type")
            if kind == "new_session" and whole:
                self.parts.clear()
                self.page = received.new_session.page_script_hash
            elif kind == "auto_rerun":
                self.parts.append(received.auto_rerun.fragment_id)
            elif kind == "script_finished" and received.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                return
            elif kind == "script_finished":
                whole = True  # the part asked for its whole page, which comes next
        raise RuntimeError(f"a page was not drawn within {SECONDS:.0f} s")


@contextmanager
def session(app: RunningApp, query: str) -> Iterator[Session]:
    origin = f"http://localhost:{app.port}"
    address = f"ws://localhost:{app.port}/_stcore/stream"
    with connect(address, origin=origin, subprotocols=["streamlit"], max_size=None) as socket:  # type: ignore[arg-type, list-item]
        opened = Session(socket, query)
        opened.run()
        yield opened


def check(full: bool, seed: int, folder: Path) -> list[Finding]:
    polls = 20_000 if full else 1_000
    workspace = open_workspace(folder / "runs")
    run = write_run(
        workspace.experiments / "live" / "seed_1", seed=seed, epochs=100, epochs_run=4, state="running", replicates=10
    )
    whole = write_run(folder / "whole" / "seed_1", seed=seed, epochs=100, replicates=10, with_predictions=False).history()
    records = [record.to_json() for record in whole]
    sizes: list[float] = []
    drawn = 0
    with lock_of(run.lock_file).acquire(), running_app(workspace) as app, ExitStack() as stack:
        sessions = [stack.enter_context(session(app, f"run={run.id}")) for _ in range(SESSIONS)]
        for poll in range(polls):
            if poll % EPOCH_EVERY == 0:
                write_json(run.history_file, records[: 4 + poll // EPOCH_EVERY % 90])
            tab = sessions[poll % SESSIONS]
            part = tab.parts[poll // SESSIONS % len(tab.parts)] if tab.parts else ""
            tab.run(part)
            drawn += bool(part)
            sizes.append(app.process.memory_info().rss / 2**20)
    return [_judged(sizes, drawn)]


def _judged(sizes: list[float], drawn: int) -> Finding:
    growth = max(sizes[SETTLED:]) - sizes[SETTLED]
    half = np.asarray(sizes[len(sizes) // 2 :])
    slope = float(np.polyfit(np.arange(len(half)), half, 1)[0]) * len(half)
    found = (
        f"{len(sizes)} polls in {SESSIONS} sessions: {sizes[SETTLED]:.0f} MiB after {SETTLED}, at most "
        f"{growth:+.1f} MiB since, {slope:+.2f} MiB along the second half"
    )
    problems = [] if growth <= GROWTH_MIB else [f"grew by {growth:.0f} MiB, goal {GROWTH_MIB:.0f}"]
    problems += [] if slope <= SLOPE_MIB else [f"still grows by {slope:.1f} MiB along the second half, goal {SLOPE_MIB:.0f}"]
    problems += [] if drawn == len(sizes) else [f"{len(sizes) - drawn} polls found nothing on the page that runs by itself"]
    return Finding("R10", "memory of the server while pages poll", found, not problems, tuple(problems))
