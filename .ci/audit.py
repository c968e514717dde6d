"""Known vulnerabilities of the installed packages, by pip-audit: ``python .ci/audit.py``.

Exit code 0: none but those that ``audit_ignore.txt`` names with a reason; or the database cannot be reached, which one sentence
says. 1: a finding. pip-audit itself says "no known vulnerabilities" where it could not ask about one package; here that is no
answer.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

IGNORED = Path(__file__).with_name("audit_ignore.txt")
PROBE = "streamlit"
"""One package is asked about first: where that fails, the others need not be tried one after another."""
SECONDS = 600
UNREACHABLE = "The database of known vulnerabilities cannot be reached from here, so no package was audited."

Entry = Mapping[str, Any]


def main() -> int:
    try:
        ignored = read_ignored(IGNORED.read_text(encoding="utf-8"))
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        one = Path(folder) / "one.txt"
        one.write_text(f"{PROBE}=={version(PROBE)}\n")
        if not audited(ask("--requirement", str(one), "--no-deps", "--disable-pip")):
            sys.stdout.write(UNREACHABLE + "\n")
            return 0
    lines, code = judge(ask("--local", "--skip-editable"), ignored)
    sys.stdout.write("\n".join(lines) + "\n")
    return code


def ask(*arguments: str) -> list[Entry]:
    """What pip-audit says of each package; nothing where it cannot say anything."""
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        return list(json.loads(done.stdout)["dependencies"])
    except (subprocess.TimeoutExpired, ValueError, KeyError, TypeError):
        return []


def audited(entries: Sequence[Entry]) -> list[Entry]:
    return [entry for entry in entries if "skip_reason" not in entry]


def judge(entries: Sequence[Entry], ignored: Mapping[str, str]) -> tuple[list[str], int]:
    """Lines for the reader, and the exit code.

    Parameters
    ----------
    entries : as pip-audit gives them: ``name``, then ``version`` and ``vulns`` or ``skip_reason``
    ignored : id of a finding -> why it does not matter here
    """
    asked = audited(entries)
    if not asked:
        return [UNREACHABLE], 0
    lines, code, known = [], 0, set()
    for entry in asked:
        for finding in entry["vulns"]:
            names = {finding["id"], *finding.get("aliases", ())}
            reason = next((ignored[name] for name in sorted(names) if name in ignored), None)
            known |= names & ignored.keys()
            where = f"{entry['name']} {entry['version']}: {finding['id']}"
            if reason is None:
                fixed = ", ".join(finding.get("fix_versions", ())) or "no version yet"
                lines.append(f"{where}, fixed in {fixed}. Raise its pin, or name it in {IGNORED.name} with the reason.")
                code = 1
            else:
                lines.append(f"{where}, ignored: {reason}")
    skipped = [entry["name"] for entry in entries if "skip_reason" in entry]
    lines += [f"{name} in {IGNORED.name} is found no more; take it out." for name in sorted(ignored.keys() - known)]
    if skipped:
        lines.append(f"Not audited: {', '.join(skipped)}.")
    lines.append(f"{len(asked)} packages audited, {'something was found' if code else 'nothing was found that is not known'}.")
    return lines, code


def read_ignored(text: str) -> dict[str, str]:
    """Id -> reason, a line each; raises ``ValueError`` for an id without a reason."""
    found = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, reason = line.strip().partition(" ")
            if not reason.strip():
                raise ValueError(f"{IGNORED.name} names {name} without a reason; say behind it why it does not matter here.")
            found[name] = reason.strip()
    return found


if __name__ == "__main__":
    raise SystemExit(main())
