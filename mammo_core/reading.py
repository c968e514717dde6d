"""Reading JSON, YAML and tables that anybody may have written: bounded in size, and each fault is one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mammo_core.errors import CorruptRunFile

if TYPE_CHECKING:
    import pandas as pd

MAX_JSON_BYTES = 64 * 2**20
"""Larger JSON files are refused before they are parsed; a history of 100,000 epochs is about 40 MB."""


def read_json_bytes(path: Path) -> bytes:
    """The bytes of a JSON file, for readers that parse and check in one step.

    Raises
    ------
    FileNotFoundError, CorruptRunFile
        There is no such file; it is larger than any run file.
    """
    with path.open("rb") as file:
        content = file.read(MAX_JSON_BYTES + 1)
    if len(content) > MAX_JSON_BYTES:
        raise CorruptRunFile(
            f"{path.name} is larger than {MAX_JSON_BYTES // 2**20} MB, which no run file is. Look at it by hand."
        )
    return content


def read_json(path: Path) -> Any:
    """Read one JSON document.

    Raises
    ------
    FileNotFoundError
        There is no such file; readers of a run decide what its absence means.
    CorruptRunFile
        The file is not JSON, is too large or nests too deeply.
    """
    content = read_json_bytes(path)
    try:
        value = json.loads(content.decode("utf-8"))
        if b"\\ud" in content or b"\\uD" in content:  # half a sign, which no page and no file can take
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        return value
    except (ValueError, RecursionError) as error:
        raise CorruptRunFile(
            f"{path.parent.name}/{path.name} is not readable as JSON ({_first_line(error)}). "
            "The other files of the run are unaffected; restore or delete this one."
        ) from error


MAX_YAML_BYTES = 2**17
"""The largest configuration has 3 kB."""
MAX_YAML_PARTS = 2000
"""Lists and tables in one text, and their items. The C loader crashes the interpreter on deep nesting."""
YAML_FAULTS = (yaml.YAMLError, ValueError, RecursionError, TypeError, LookupError, AttributeError)
"""What :func:`parse_yaml` raises; the last three where a tag stands before something else (``!!int ''``, ``!!bool x``)."""
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""In C where PyYAML has it: ten times as quick, which a list of a thousand runs needs."""


def parse_yaml(text: str) -> Any:
    """The value of a YAML text that holds plain values only and not many of them; raises one of :data:`YAML_FAULTS`.

    Aliases are refused: a few hundred bytes of them can unfold to gigabytes.
    """
    if sum(text.count(mark) for mark in ("[", "{", "- ", "? ")) > MAX_YAML_PARTS:
        raise ValueError(f"it has more than {MAX_YAML_PARTS} lists, tables and items of them, which no settings have")
    if "*" in text and any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text, _Loader)):
        raise ValueError("it uses aliases (*name), which are not accepted here: write the values out")
    value = yaml.load(text, _Loader)  # one of the two safe loaders
    json.dumps(value, default=str, ensure_ascii=False).encode("utf-8")  # fails at half a sign and at endless digits
    return value


def _yaml_text(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(MAX_YAML_BYTES + 1)
    if len(content) > MAX_YAML_BYTES:
        raise CorruptRunFile(
            f"{path.name} is larger than {MAX_YAML_BYTES // 2**10} kB, which no settings are. Look at it by hand."
        )
    return content.decode("utf-8-sig")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping, as :func:`parse_yaml` does.

    Raises
    ------
    FileNotFoundError, CorruptRunFile
        As :func:`read_json`; also where the document is no mapping.
    """
    try:
        value = parse_yaml(_yaml_text(path))
    except YAML_FAULTS as error:
        raise CorruptRunFile(f"{path.name} is not readable as YAML ({_first_line(error)}). Correct or restore it.") from error
    if not isinstance(value, dict):
        raise CorruptRunFile(f"{path.name} holds no 'key: value' lines but a {type(value).__name__}. Correct or restore it.")
    return value


MAX_COLUMNS = 5000
"""Of a table. Pandas takes 20 s for a row of 300,000 cells, which is 600 kB."""


def refuse_wide_table(source: Path | bytes) -> None:
    """Raise ``ValueError`` where one of the first lines, which tell pandas the number of columns, has too many of them."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            source = file.read(2**20)
    for line in source[: 2**20].splitlines()[:4]:
        if max(line.count(mark) for mark in (b",", b";", b"\t", b"|")) > MAX_COLUMNS:
            raise ValueError(f"a line has more than {MAX_COLUMNS} cells")


def read_text_table(path: Path) -> pd.DataFrame:
    """Read a CSV whose every column is text; an empty cell is the empty string. Ids such as ``007`` keep their zeros.

    Raises
    ------
    FileNotFoundError, CorruptRunFile
        As :func:`read_json`.
    """
    import pandas as pd  # takes most of a second: commands that read no table start without it

    try:
        refuse_wide_table(path)
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, OverflowError, MemoryError) as error:  # the errors of pandas are ValueErrors
        raise CorruptRunFile(f"{path.name} is not readable as CSV ({_first_line(error)}). Restore or re-create it.") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
