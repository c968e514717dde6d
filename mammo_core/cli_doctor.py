"""The command that looks at the installation and the workspace: doctor. Importing this module registers it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mammo_core.cli_app import Json, app, open_home
from mammo_core.terminal import answer, print_json, say

if TYPE_CHECKING:
    from mammo_core.workflows.doctor_check import Check
    from mammo_core.workflows.leftovers import Cleaning

SIGNS = {"good": "ok", "note": "note", "broken": "BROKEN"}


@app.command()
def doctor(
    clean: Annotated[
        bool, typer.Option("--clean", help="Take away what killed programs left behind; runs go to the trash.")
    ] = False,
    json: Json = False,
) -> None:
    """Look at Python, packages, decoders, weights, disk, locks and leftovers; say what to do (exit code 1: one is broken)."""
    from mammo_core.workflows.doctor import is_broken, quick_checks, thorough_checks

    workspace = open_home()
    cleaning = None
    if clean:
        from mammo_core.workflows.leftovers import clean as clean_up

        cleaning = clean_up(workspace)
    checks = quick_checks(workspace)
    if not json:
        _tell(checks)
        say("Decoding films and importing PyTorch ...")
    slow = thorough_checks()
    checks += slow
    broken = is_broken(checks)
    if json:
        told = {"done": cleaning.done, "problems": cleaning.problems, "freed_bytes": cleaning.freed} if cleaning else None
        print_json({"good": not broken, "checks": [check.to_json() for check in checks], "cleaned": told})
    else:
        _tell(slow)
        _tell_cleaning(cleaning)
        answer("Something is broken; see above." if broken else "Nothing is broken.")
    if broken or (cleaning and cleaning.problems):
        raise typer.Exit(1)


def _tell(checks: list[Check]) -> None:
    for check in checks:
        answer(f"{SIGNS[check.state]:<7}{check.title}: {check.found}")
        if check.todo:
            answer(f"{'':7}-> {check.todo}")


def _tell_cleaning(cleaning: Cleaning | None) -> None:
    if cleaning is not None:
        for sentence in (*cleaning.done, *cleaning.problems) or ("There was nothing to clean up.",):
            answer(sentence)
