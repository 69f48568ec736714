"""The `genloss` command: its subcommands, and how errors become sentences and exit codes."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any, NoReturn, TextIO

import typer
from typer.core import TyperGroup

from genloss.cli import check, cite, compare, data, doctor, evaluate, losses, recipes, resume, sample, train
from genloss.cli._streams import drop_output, open_streams
from genloss.errors import InputError, WorkError

__all__ = ["app", "main"]


class _Group(TyperGroup):
    """Says that it was interrupted; typer itself would leave without a word."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _fail("interrupted.", 130)


app = typer.Typer(
    cls=_Group,
    name="genloss",
    help="Train, measure and compare generative models by their loss. Begin with `genloss recipes`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for module in (train, resume, sample, evaluate, compare, losses, check, cite, recipes, data, doctor):
    module.register(app)


@app.callback(invoke_without_command=True)
def version(show: bool = typer.Option(False, "--version", help="Print the version and stop.")) -> None:
    """Train, measure and compare generative models by their loss. Begin with `genloss recipes`."""
    if show:
        import genloss

        print(f"genloss {genloss.__version__}")
        raise typer.Exit


def main() -> None:
    """Runs the command line: exit 0 ok, 1 the work failed, 2 wrong usage or input, 130 interrupted."""
    open_streams()
    warnings.showwarning = _warn
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except InputError as error:
        _fail(str(error), 2)
    except WorkError as error:
        _fail(str(error), 1)
    except BrokenPipeError:
        drop_output()
        sys.exit(1)
    except (Exception, SystemExit) as error:
        from genloss.runs.faults import explained

        sentence = explained(error)
        if sentence is None:
            raise
        drop_output()
        _fail(sentence, 1)


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Prints a warning of genloss as a sentence: where in the code it arose helps nobody at a terminal."""
    ours = filename.startswith(os.path.dirname(os.path.dirname(__file__)))
    print(
        f"genloss: {message}" if ours else warnings.formatwarning(message, category, filename, lineno, line).rstrip(),
        file=file or sys.stderr,
    )


def _fail(sentence: str, code: int) -> NoReturn:
    print(f"genloss: {sentence}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
