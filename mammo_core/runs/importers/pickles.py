"""A foreign ``train_history.pkl``: arrays or records, read by an unpickler that can make nothing else, in a limited child.

Allow-listing stops code, not memory bombs (nested references that unfold when walked), hence the child process with an
address-space and time limit. This module is also the program that the child runs.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

MAX_PICKLE_BYTES = 16 * 2**20
MAX_VALUES = 100_000
MAX_KEYS = 200
MEMORY_BYTES = 2**30
SECONDS = 20.0
ALLOWED = frozenset(
    (f"{numpy}.{module}", name)
    for numpy in ("numpy.core", "numpy._core")
    for module, name in (("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer"))
) | {
    *(("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")),
    # A history gathered in ``defaultdict(list)`` names these; they can only build containers and numbers.
    *(("collections", "defaultdict"), ("collections", "OrderedDict")),
    *((builtins, name) for builtins in ("builtins", "__builtin__") for name in ("list", "float")),
}


class NumbersOnly(pickle.Unpickler):
    """Rebuilds plain containers and NumPy arrays; any other name in the file ends the reading."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}"[:120])
        return super().find_class(module, name)


def read_pickle(path: Path) -> dict[str, Any] | list[Any]:
    """The content of a pickled history as JSON values.

    Raises
    ------
    DataError
        Too large, not a pickle of plain numbers, or too much for the limits; the pickle is never executed.
    """
    from mammo_core.runs.importers.reading import parse_json, refuse

    advice = (
        "Only lists and dicts of numbers are read from pickles, and nothing in them is executed. Save the history as CSV or JSON."
    )
    if path.stat().st_size > MAX_PICKLE_BYTES:
        raise refuse(path, f"is a pickle above {MAX_PICKLE_BYTES // 2**20} MB", advice)
    # -I: no environment hooks, and this folder stays off the child's import path, where its module names could hide others.
    command = [sys.executable, "-I", str(Path(__file__).resolve()), str(path.resolve())]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, env=environment, check=False)
    except subprocess.TimeoutExpired as error:
        raise refuse(path, f"is a pickle that was not read within {SECONDS:.0f} s", advice) from error
    if done.returncode != 0:
        reason = done.stderr.decode("utf-8", errors="replace").strip().splitlines()[-1:] or ["the reading process died"]
        raise refuse(path, f"is a pickle that cannot be read safely ({reason[0][:160]})", advice)
    value = parse_json(done.stdout.decode("utf-8"))
    return value if isinstance(value, dict | list) else {}


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows: the time limit still holds
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def _plain(value: Any, level: int, budget: list[int]) -> Any:
    """Containers and numbers as JSON values; counts every value against the budget, so that nothing unfolds without end."""
    import numpy as np

    budget[0] -= 1
    if budget[0] < 0 or level > 6:
        raise ValueError("it holds too many values")
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "fiub" or value.size > MAX_VALUES:
            raise ValueError("an array is not made of numbers or is too long")
        return _plain(value.tolist(), level, budget)
    if isinstance(value, np.generic):
        return _plain(value.item(), level, budget)
    if isinstance(value, dict):
        return {str(key)[:80]: _plain(item, level + 1, budget) for key, item in list(value.items())[:MAX_KEYS]}
    if isinstance(value, list | tuple):
        return [_plain(item, level + 1, budget) for item in value]
    if isinstance(value, bool | int | float | str) or value is None:
        return value[:200] if isinstance(value, str) else value
    raise ValueError(f"it holds a {type(value).__name__}")


def _child(path: str) -> int:
    """Read one pickle and print it as JSON; any problem is one line on stderr."""
    import numpy as np  # imported before the limit: loading the library itself reserves address space

    np.zeros(1)
    _limit_memory()
    try:
        value = NumbersOnly(io.BytesIO(Path(path).read_bytes())).load()
        text = json.dumps(_plain(value, 0, [MAX_VALUES * 20]))
    except (pickle.PickleError, ValueError, TypeError, AttributeError, EOFError, IndexError, KeyError) as error:
        sys.stderr.write((str(error) or type(error).__name__).splitlines()[0] + "\n")
        return 1
    except (MemoryError, RecursionError, OverflowError, ImportError) as error:
        sys.stderr.write(type(error).__name__ + "\n")
        return 1
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(_child(sys.argv[1]))
