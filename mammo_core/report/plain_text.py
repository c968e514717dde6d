"""Words of foreign origin inside Markdown: class names, centres and messages that stay words, on the screen and in files."""

from __future__ import annotations

import re

from mammo_core.errors import readable

ALIVE = re.compile(r"(?<=://)|(?<=www)(?=\.)|(?=@)|(?<=:)(?=[a-z+-][\w+-]*[:/])", re.IGNORECASE)
"""Where an address, a mail address, an emoji or an icon is recognised although every mark in it is escaped."""
WORD_JOINER = "\u2060"
"""Not seen, and no part of any of these."""
MARKS = re.compile(r"[\\`*~$|]|(?<!\w)_|_(?!\w)|!(?=\[)|\](?=[(\[:])")
"""What means something in the middle of a line; an underscore inside a word and brackets that lead nowhere mean nothing."""


def plain(text: str) -> str:
    """Text from files shown as it stands: a file name cannot become a link, an image or a heading, nor turn its line round."""
    lines = (line if line.isprintable() else readable(line, len(line)) for line in text.split("\n"))
    text = ALIVE.sub(WORD_JOINER, "\n".join(lines))
    for mark in "\\`*_[]()#!<>$:~|":
        text = text.replace(mark, "\\" + mark)
    return text


def plain_in_file(text: object) -> str:
    """The same for a line, a list item or a table cell of an exported file, which is also read as it is: as few marks as will do.

    It becomes one line. It must not stand at the very beginning of a line, where ``#`` and ``1.`` mean something.
    """
    line = " ".join(str(text).split())
    line = line if line.isprintable() else readable(line, len(line))
    return MARKS.sub(r"\\\g<0>", ALIVE.sub(WORD_JOINER, line)).replace("<", "&lt;")
