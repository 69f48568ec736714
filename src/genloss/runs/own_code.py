"""A person's own code: imported from a file or a module, and named where it fails."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import sysconfig
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["is_own", "own_module", "place_of", "said", "source_of"]

_MODULES: dict[str, ModuleType] = {}  # by what was asked for
_LIBRARIES = ("<", *(sysconfig.get_paths()[key] for key in ("stdlib", "purelib", "platlib")))
_GENLOSS = str(Path(__file__).parents[1])


def own_module(place: str) -> ModuleType:
    """Imports `FILE.py` or `package.module`; whatever its code raises comes through."""
    if place.endswith(".py"):
        module = _module_of_file(Path(place).resolve())
    else:
        # A loss of one's own usually lies where the command is called, which a console script does not search.
        if (here := os.getcwd()) not in sys.path:
            sys.path.insert(0, here)
        module = importlib.import_module(place)
    _MODULES[module.__name__] = module
    return module


def _module_of_file(path: Path) -> ModuleType:
    """Imports a file once, under its path: a class in it tells by its module where a run finds it again."""
    name = str(path)
    if name in sys.modules:
        return sys.modules[name]
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None, path
    assert specification.loader is not None, path
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # dataclasses look their module up
    if (beside := str(path.parent)) not in sys.path:
        sys.path.insert(0, beside)
    try:
        specification.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def is_own(cls: type[Any]) -> bool:
    """Says whether a class is a person's own."""
    return not cls.__module__.startswith("genloss.")


def source_of(value: Any) -> str | None:
    """Returns where an object lies by its own name, `FILE.py:name` or `package.module:name`."""
    for place, module in _MODULES.items():
        for name, other in vars(module).items():
            if other is value:
                return f"{place}:{name}"
    return None


def place_of(error: BaseException) -> str | None:
    """Returns the file and line of a person's own code where an error comes from, or None where it is not theirs."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{error.filename}, line {error.lineno}"
    own = {module.__file__ for module in _MODULES.values()}
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename in own
        # Compiled libraries name their sources by paths that are not here.
        or (not frame.filename.startswith((*_LIBRARIES, _GENLOSS)) and os.path.isfile(frame.filename))
    ]
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else None


def said(error: BaseException) -> str:
    """Returns the kind of an error and the first line of its message."""
    message = error.msg if isinstance(error, SyntaxError) else str(error)  # `place_of` tells the rest
    return f"{type(error).__name__}: {(message.strip().splitlines() or ['no message'])[0]}"
