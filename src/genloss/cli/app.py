"""The `genloss` command: its subcommands, and how errors become sentences and exit codes."""

from __future__ import annotations

import sys

import typer

from genloss.cli import check, cite, compare, data, doctor, evaluate, losses, recipes, resume, sample, train
from genloss.errors import InputError, WorkError

__all__ = ["app", "main"]

app = typer.Typer(
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
    try:
        app()
    except InputError as error:
        _fail(str(error), 2)
    except WorkError as error:
        _fail(str(error), 1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except KeyboardInterrupt:
        _fail("interrupted.", 130)


def _fail(sentence: str, code: int) -> None:
    print(f"genloss: {sentence}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
