"""A small disk, and a folder that may not be written, for one process alone: real file systems, gone with the process.

Works on Linux for root and wherever user namespaces are allowed; :func:`own_mounts` says whether it does.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

NEW_MOUNTS, NEW_USERS = 0x00020000, 0x10000000
READ_ONLY, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 32, 4096, 16384, 1 << 18


def own_mounts() -> bool:
    """Let this process have mounts of its own, which no other sees; whether the system allows it."""
    libc = _libc()
    if libc is None:
        return False
    user, group = os.getuid(), os.getgid()
    if libc.unshare(NEW_MOUNTS) != 0:
        if libc.unshare(NEW_MOUNTS | NEW_USERS) != 0:
            return False
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    return _mount("none", Path("/"), None, RECURSIVE | PRIVATE, None)


def mount_small_disk(folder: Path, size: int) -> bool:
    """Mount an empty file system of ``size`` bytes at ``folder``."""
    return _mount("tmpfs", folder, "tmpfs", 0, f"size={size}")


def make_read_only(folder: Path) -> bool:
    """Let nobody write below ``folder``, root neither."""
    return _mount(str(folder), folder, None, BIND, None) and _mount("none", folder, None, REMOUNT | BIND | READ_ONLY, None)


def unmount(folder: Path) -> None:
    libc = _libc()
    if libc is None or libc.umount2(os.fsencode(folder), 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _mount(source: str, folder: Path, kind: str | None, flags: int, options: str | None) -> bool:
    libc = _libc()
    texts = [None if text is None else text.encode() for text in (source, str(folder), kind)]
    return libc is not None and libc.mount(*texts, flags, None if options is None else options.encode()) == 0


def _libc() -> ctypes.CDLL | None:
    libc = ctypes.CDLL(None, use_errno=True)
    return libc if hasattr(libc, "unshare") and hasattr(libc, "mount") else None
