"""Every error that MammoTrace raises on purpose.

::

    MammoError
    ├── ConfigError          a setting or preset that cannot work
    ├── NameNotAllowed       a name that could leave the workspace or break a file system
    ├── DataError            a data set, manifest or import that cannot be used
    │   └── FilmUnreadable   one film that could not be decoded, with the reason
    ├── SplitError           a split that cannot be made, or that leaks
    ├── RunNotFound          no run under that name
    ├── CorruptRunFile       a file of a run that is not what its schema says
    ├── RunBusy              another process holds the run or the training slot     (exit code 75)
    ├── WriteFailed          a file could not be written                            (exit code 3)
    │   └── DiskFull         for want of space                                      (exit code 3)
    ├── UndefinedMetric      a metric that has no value for these cases
    ├── WeightsNotFound      pretrained weights that are not on this machine
    ├── CheckpointMismatch   a checkpoint that does not fit the model, task or run
    ├── NonFiniteLoss        the loss became NaN or infinite
    └── OutOfMemory          not even one film at a time fits into memory

The text of each is one sentence (or two): what was found, what was expected, what to do. Pages and the command line catch
``MammoError``, show its text, and let anything else crash.
"""

import unicodedata

UNSEEN = ("Cf", "Cs")
"""Kinds of signs that format others or are halves of one."""


MOST_CHARACTERS = 600
"""Of a message: what a damaged file holds can be megabytes."""


class Stopped(Exception):
    """A person asked the work to stop: no fault, so no ``MammoError``, and nothing that collects faults takes it."""


class MammoError(Exception):
    """Base class. Its text is written for the user."""

    def __str__(self) -> str:
        return readable(super().__str__())


def readable(text: str, most: int = MOST_CHARACTERS) -> str:
    """Text of any origin as one line: nothing in it hides, reorders or outgrows the rest of what is said.

    Control characters and line ends become blanks; signs that are not seen (marks of writing direction, joiners, half
    surrogates) are left out. Of too long a text the beginning and the end stay, since the end says what to do.
    """
    if not text.isprintable():
        text = "".join(sign if sign.isprintable() else "" if unicodedata.category(sign) in UNSEEN else " " for sign in text)
    if len(text) <= most:
        return text
    end = most // 3
    return f"{text[: most - end - 5].rstrip()} ... {text[-end:].lstrip()}"


class ConfigError(MammoError):
    """A setting or preset that cannot work."""


class NameNotAllowed(MammoError):
    """A name that could leave the workspace or break a file system."""


class DataError(MammoError):
    """A data set, manifest or import that cannot be used."""


class FilmUnreadable(DataError):
    """One film that could not be decoded, with the reason."""


class SplitError(MammoError):
    """A split that cannot be made, or that leaks."""


class RunNotFound(MammoError):
    """No run under that name."""


class CorruptRunFile(MammoError):
    """A file of a run that is not what its schema says."""


class RunBusy(MammoError):
    """Another process holds the run or the training slot."""


class WriteFailed(MammoError):
    """A file could not be written."""


class DiskFull(WriteFailed):
    """A write failed for want of space."""


class UndefinedMetric(MammoError):
    """A metric that has no value for these cases."""


class WeightsNotFound(MammoError):
    """Pretrained weights that are not on this machine."""


class CheckpointMismatch(MammoError):
    """A checkpoint that does not fit the model, the task or the run."""


class NonFiniteLoss(MammoError):
    """The training or validation loss became NaN or infinite."""


class OutOfMemory(MammoError):
    """Training one film at a time does not fit into memory."""
