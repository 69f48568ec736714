"""Runs the command as a person does, in a process of its own."""

import json
import os
import subprocess
import sys


def genloss(*arguments, cwd=None, **environment):
    """Returns the finished process; a traceback on standard error is never right."""
    done = subprocess.run(
        [sys.executable, "-m", "genloss", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **environment},
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done


def last_json(done):
    """Returns the JSON value on the last line of standard output."""
    return json.loads(done.stdout.splitlines()[-1])
