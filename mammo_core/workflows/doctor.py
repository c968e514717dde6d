"""The app's own doctor: is this installation sound, is this workspace, and what is to be done?

The quick checks take a tenth of a second and import nothing heavy. The thorough ones import PyTorch and decode films, in child
processes, and take some seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mammo_core.errors import MammoError
from mammo_core.settings import Workspace
from mammo_core.workflows import doctor_installation as installation
from mammo_core.workflows.doctor_check import Check

# Each check imports what it needs when it looks: where a package is missing, the others still answer.

Progress = Callable[[int, int, str], None]


def quick_checks(workspace: Workspace) -> list[Check]:
    """Python, packages, modules in the way, disk, writing, locks, clock and leftovers."""
    looks: list[tuple[str, Callable[[], list[Check]]]] = [
        ("Python", lambda: [installation.check_python()]),
        ("Packages", lambda: [installation.check_packages()]),
        ("Modules in the way", lambda: [installation.check_strays()]),
        ("Free disk", lambda: _disk(workspace)),
        ("Writing", lambda: _writing(workspace)),
        ("Locks", lambda: _locks(workspace)),
        ("Leftovers", lambda: _leftovers(workspace)),
    ]
    return [check for title, look in looks for check in _ask(title, look)]


def thorough_checks(progress: Progress | None = None) -> list[Check]:
    """Decoders, PyTorch, weights and the graphics card."""
    tell = progress or (lambda done, total, message: None)
    tell(0, 2, "Decoding one film of each kind")
    found = _ask("Decoders", _decoders)
    tell(1, 2, "Importing PyTorch")
    found += _ask("PyTorch", installation.check_with_torch)
    tell(2, 2, "Done")
    return found


def is_broken(checks: Sequence[Check]) -> bool:
    return any(check.state == "broken" for check in checks)


def _ask(title: str, look: Callable[[], list[Check]]) -> list[Check]:
    """What a look found; that it could not look is an answer too."""
    name = title.lower().replace(" ", "_")
    try:
        return look()
    except ImportError as error:
        todo = f"Run '{installation.INSTALL}' in the app's environment."
        return [Check(name, title, "broken", f"cannot be checked: {error.name or 'a package'} cannot be imported", todo)]
    except MammoError as error:
        return [Check(name, title, "broken", "cannot be checked", str(error))]
    except OSError as error:
        told = f"cannot be checked: {error.strerror or type(error).__name__}"
        return [Check(name, title, "broken", told, "Check that the workspace's disk is there and may be read and written.")]


def _disk(workspace: Workspace) -> list[Check]:
    from mammo_core.workflows.doctor_workspace import check_disk

    return [check_disk(workspace)]


def _writing(workspace: Workspace) -> list[Check]:
    from mammo_core.workflows.doctor_workspace import check_writing

    return check_writing(workspace)


def _locks(workspace: Workspace) -> list[Check]:
    from mammo_core.workflows.doctor_workspace import check_locks

    return [check_locks(workspace)]


def _leftovers(workspace: Workspace) -> list[Check]:
    from mammo_core.workflows.leftovers import check_leftovers

    return [check_leftovers(workspace)]


def _decoders() -> list[Check]:
    from mammo_core.workflows.doctor_films import check_decoders

    return [check_decoders()]
