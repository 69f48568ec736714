"""Freed memory that the allocator keeps: a phase of a run does not pay for the one before it."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["return_freed"]


def return_freed() -> None:
    """Gives freed memory back to the system where the C library can (glibc); elsewhere does nothing.

    Activations leave holes between what lives on; samples to be measured do not fit in, and lie beside them.
    """
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)
