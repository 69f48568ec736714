"""The command line, called in this process."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout

import pytest

from genloss.cli.app import main


def genloss(*arguments):
    """Calls the command as a shell does and returns its exit code and what it printed."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["genloss", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
    return caught.value.code or 0, out.getvalue(), err.getvalue()
