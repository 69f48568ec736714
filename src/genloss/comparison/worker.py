"""The process that runs cells: trains, resumes and measures, one cell at a time, until it is told to stop."""

from __future__ import annotations

import json
import math
import os
import queue
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from genloss.errors import InputError, WorkError

__all__ = ["main", "run_cell"]

GRACE = 600


def run_cell(job: dict[str, Any]) -> dict[str, Any] | None:
    """Brings one cell to its end, from wherever an earlier process left it.

    Args:
        job: `recipe` (the variant's locked file), `seed`, `name`, `runs_dir`, `split`, `samples`, `metric`.

    Returns:
        The cell's result, or None when training was asked to stop.
    """
    from genloss.protocols import Diverged
    from genloss.runs.execute import resume_run, train_run
    from genloss.runs.folder import RunFolder
    from genloss.runs.recipes import read_recipe
    from genloss.runs.sampling import evaluate_run

    path = Path(job["runs_dir"]) / f"{job['name']}-1"
    seconds = None
    if not path.exists():
        # json.dumps quotes a path for YAML
        overrides = [f"seed={job['seed']}", f"name={job['name']}", f"runs_dir={json.dumps(job['runs_dir'])}"]
        sys.argv = ["genloss", "train", job["recipe"], *overrides]  # the run records the command that repeats it
        seconds = train_run(read_recipe(job["recipe"], overrides)[0]).seconds
    elif RunFolder.open(path).status() not in ("finished", "diverged"):
        resume_run(path)
    run = RunFolder.open(path)
    if run.status() == "diverged":
        fault = next(event for event in run.events() if event["event"] == "diverged")
        said = Diverged(fault["turn"], fault["player"], fault["tensor"], float(fault["value"])).sentence()
        return {"status": "diverged", "message": said}
    if run.status() != "finished":
        return None
    metrics, _, checkpoint = evaluate_run(path, split=job["split"], samples=job["samples"])
    measured = {name: metric.value if math.isfinite(metric.value) else None for name, metric in metrics.items()}
    compared = metrics[job["metric"]]
    result: dict[str, Any] = {"status": "finished", "checkpoint": checkpoint, "metrics": measured}
    result |= {"signature": compared.signature, "n": compared.n, "seconds": seconds}
    if measured[job["metric"]] is None:
        result |= {"status": "failed", "message": f"{job['metric']} of the {job['split']} split is {compared.value}."}
    return result


def _listen(jobs: queue.SimpleQueue[dict[str, Any]]) -> None:
    """Queues jobs; when the parent is gone, however it went, training saves and ends as on SIGTERM."""
    for line in sys.stdin:
        jobs.put(json.loads(line))
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)


def main() -> None:
    """Takes a job a line on standard input, answers each with a line on standard output; ends after a failure."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    jobs: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(jobs,), daemon=True).start()
    failed = False
    while not failed:
        job = jobs.get()
        log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for standard in (1, 2):
            os.dup2(log, standard)
        os.close(log)
        try:
            result = run_cell(job)
        except Exception as error:
            # What an exception left behind in this process (memory on a device, say) must not reach the next cell.
            failed = True
            traceback.print_exc()
            sentence = str(error) if isinstance(error, (InputError, WorkError)) else f"{type(error).__name__}: {error}"
            result = {"status": "failed", "message": sentence}
        sys.stdout.flush()
        sys.stderr.flush()
        if result is None:
            break
        answers.write(json.dumps(result, allow_nan=False) + "\n")
        answers.flush()
    os._exit(int(failed))  # a plain exit would wait for the lock of the standard input that `_listen` reads


if __name__ == "__main__":
    main()
