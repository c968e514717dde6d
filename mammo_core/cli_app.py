"""What the modules of the command line share: the application object, common options and the workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mammo_core.settings import RESEARCH_ONLY, Workspace, open_workspace

app = typer.Typer(
    help=f"MammoTrace. {RESEARCH_ONLY}.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Runs = Annotated[list[str], typer.Option("--run", help="A run directory or <experiment>/<run>; may be repeated.")]

_state: dict[str, Path | None] = {"home": None}


def open_home() -> Workspace:
    """The workspace that ``--home`` or ``MAMMOTRACE_HOME`` names."""
    return open_workspace(_state["home"])


def comma_names(text: str | None) -> tuple[str, ...]:
    """``a, b`` as ``("a", "b")``."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


@app.callback()
def _options(
    home: Annotated[Path | None, typer.Option(help="Workspace folder (default: MAMMOTRACE_HOME or runs/).")] = None,
) -> None:
    _state["home"] = home
