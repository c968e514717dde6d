"""What must not leave the machine inside a report: places of files, which name users, servers and sometimes patients."""

from __future__ import annotations

import re
from typing import Any

QUOTED = re.compile(
    r"""(?<=(['"`]))(?:~[\w.-]*(?=[\\/])|[A-Za-z]:(?=[\\/])|\\{2,}(?=\w)|file:/|/(?=[^/\n]))(?:(?!\1)[^\n])*[\\/](?:(?!\1)[^\n])*(?=\1)"""
)
"""An absolute path in quotes: up to the closing one, since names of folders may hold blanks."""
PLACE = re.compile(
    r"(?<![\w./:\\-])(?:~[\w.-]*(?=[\\/])|[A-Za-z]:(?=[\\/])|\\\\(?=\w)|file:/{1,3}(?=\S)|/(?=[\w.~@+-]+/))[^\s'\"`,;)\]}|]*"
)
"""An absolute path of Unix, macOS or Windows inside a sentence: from its root to the next blank or mark."""


def without_places(text: str) -> str:
    """The text with every absolute path cut down to its last part."""
    text = QUOTED.sub(lambda match: _last_part(match.group()), text)
    return PLACE.sub(lambda match: _last_part(match.group()), text)


def _last_part(path: str) -> str:
    ending = path[len(path.rstrip(".:")) :]
    parts = [part for part in re.split(r"[\\/]+", path.rstrip(".:")) if part]
    return (parts[-1] if parts else "") + ending


def cleaned(value: Any) -> Any:
    """The same for every text inside JSON or YAML values; a value that is nothing but a path may hold blanks."""
    if isinstance(value, dict):
        return {key: cleaned(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [cleaned(item) for item in value]
    if not isinstance(value, str):
        return value
    is_path = re.match(r"(?:/|~|[A-Za-z]:[\\/]|\\\\|file:)", value) and "\n" not in value
    return _last_part(value) if is_path else without_places(value)
