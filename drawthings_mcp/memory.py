"""How the C library of a process of ours deals with freed memory."""

from __future__ import annotations

import contextlib
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Numbers of the options in glibc's ``malloc.h``."""
_KEPT = 64 << 20
"""Bytes: what one call takes for a picture of 1024×1024."""
_LARGEST = 32 << 20
"""Bytes of a single piece; glibc takes no more for a limit."""


def keep_freed_memory() -> None:
    """Has memory that one picture used kept for the next one; for a whole process, so only for our own.

    By default glibc gives the memory of large arrays back at once, and taking it again, page by page, costs a tenth of
    a call. Other C libraries have no such option and are left alone.
    """
    if sys.platform != "linux":
        return
    import ctypes

    with contextlib.suppress(AttributeError, OSError):
        set_option = ctypes.CDLL(None).mallopt
        set_option(_MMAP_THRESHOLD, _LARGEST)
        set_option(_TRIM_THRESHOLD, _KEPT)
