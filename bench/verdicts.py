"""Agreement of the verdicts with expert readings: ``python bench/verdicts.py HISTORIES_DIR``.

The folder holds ``labels.json`` (for each sub-folder: ``file``, ``primary``, ``second_reading``, ``also``, ``clear``,
``best_epoch_by_val_loss``) and the histories. Nothing of it is part of the project.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mammo_core.workflows.diagnose import diagnose_path  # noqa: E402

WORDS = {
    "HEALTHY": "healthy",
    "OVERFIT_MILD": "overfit_mild",
    "OVERFIT_SEVERE": "overfit_severe",
    "TOO_FEW_EPOCHS": "underfit_or_too_few_epochs",
    "UNDERFIT": "underfit_or_too_few_epochs",
    "PLATEAU": "plateau",
    "UNSTABLE": "unstable_validation",
    "COLLAPSE": "collapse",
    "DIVERGED": "diverged",
    "INCONCLUSIVE": "insufficient_data",
}
NEVER_HEALTHY = {"collapse", "diverged", "overfit_severe"}


def read(folder: Path, label: dict[str, Any]) -> dict[str, Any]:
    """The verdict on one labelled history, as words of the labels."""
    files = label["file"]
    path = folder / files[0] if len(files) == 1 else folder
    found = diagnose_path(path)
    word = WORDS.get(str(found["verdict"]), "error")
    defensible = {label["primary"], label["second_reading"], *label["also"]}
    return {
        "word": word,
        "found": found,
        "agrees": word == label["primary"],
        "within": word in defensible,
        "clear": bool(label["clear"]),
        "best": found["best_row"] == label["best_epoch_by_val_loss"],
        "unsafe": word == "healthy" and label["primary"] in NEVER_HEALTHY,
        "expected": label["primary"],
        "defensible": sorted(defensible),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="HISTORIES_DIR")
    folder = parser.parse_args().folder
    labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    results = {name: read(folder / name, label) for name, label in labels.items()}
    for name, result in results.items():
        mark = "ok " if result["agrees"] else "in " if result["within"] else "OUT"
        clear = "clear" if result["clear"] else "     "
        best = "" if result["best"] else f" [best row {result['found']['best_row']}]"
        said = result["found"].get("headline") or result["found"]["error"]
        print(f"{mark} {clear} {name}: {result['word']:<27} expected {result['expected']:<27}{best} {said}")
    confusion = Counter((result["expected"], result["word"]) for result in results.values())
    print("\nexpected -> said (only where they differ)")
    for (expected, word), count in sorted(confusion.items()):
        if expected != word:
            print(f"  {count:3d}  {expected} -> {word}")
    clear_ones = [result for result in results.values() if result["clear"]]
    print(f"\nclear cases, same reading:    {_share([result['agrees'] for result in clear_ones])}  (goal 90 %)")
    print(f"all cases, same reading:      {_share([result['agrees'] for result in results.values()])}")
    print(f"all cases, within defensible: {_share([result['within'] for result in results.values()])}  (goal 95 %)")
    print(f"best row as labelled:         {_share([result['best'] for result in results.values()])}")
    unsafe = [name for name, result in results.items() if result["unsafe"]]
    print(f"called healthy though collapsed, diverged or severely overfitted: {', '.join(unsafe) or 'none'}")
    return 1 if unsafe else 0


def _share(values: list[bool]) -> str:
    return f"{sum(values)}/{len(values)} = {100 * sum(values) / max(len(values), 1):.0f} %"


if __name__ == "__main__":
    sys.exit(main())
