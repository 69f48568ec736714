"""Errors that are no fault of genloss, as sentences: a person's own code, the system's files, the memory."""

from __future__ import annotations

from genloss.runs.own_code import place_of, said

__all__ = ["explained", "out_of_memory"]

_NO_MEMORY = ("can't allocate memory", "out of memory", "Storage size calculation overflowed", "not enough memory")


def explained(error: BaseException) -> str | None:
    """Returns a sentence on an error that a person can mend, or None on one that only we can."""
    if (place := place_of(error)) is not None:
        return f"your own code failed: {said(error)} ({place}); mend it there, with `genloss check` where it is a loss."
    if out_of_memory(error):
        return (
            f"out of memory: {str(error).splitlines()[0]}; lower train.batch_size, model.network.width, "
            "model.noise_dim or evaluation.samples."
        )
    if isinstance(error, OSError):
        name = error.filename if error.filename is not None else "a file"
        return f"{name} cannot be used: {error.strerror or error}; see to its permissions and to free space."
    return None


def out_of_memory(error: BaseException) -> bool:
    """Says whether an allocation failed, on whichever device."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in _NO_MEMORY)
    )
