"""The command line. Commands parse options and print; all that they do is in the library."""

from __future__ import annotations

import sys

import typer

from ..errors import TrimodalError
from . import bundle, ctr, data, demo, evaluate, recommend, report, shaping, tune

app = typer.Typer(
    name="trimodal",
    help="Similar products from titles, pictures and anonymous clicks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data.register(app)
recommend.register(app)
bundle.register(app)
evaluate.register(app)
shaping.register(app)
report.register(app)
tune.register(app)
ctr.register(app)
demo.register(app)


@app.callback(invoke_without_command=True)
def _version(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    if version:
        from .. import __version__

        typer.echo(f"trimodal {__version__}")
        raise typer.Exit


def main(arguments: list[str] | None = None) -> None:
    """Run a command; exit code 2 and one line on bad input, 130 on Ctrl-C."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code."""
    try:
        code = app(arguments, standalone_mode=False)
    except TrimodalError as error:
        typer.echo(f"trimodal: {error}", err=True)
        return 2
    except (typer.Abort, KeyboardInterrupt):
        typer.echo("trimodal: interrupted; what is encoded or trained already is kept for the next run", err=True)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        typer.echo(f"trimodal: {error}", err=True)
        return 2
    except Exception as error:
        # What Typer says of wrong usage; its class is public in some of its versions only.
        if not hasattr(error, "format_message"):
            raise
        typer.echo(f"trimodal: {error.format_message()} (see --help)", err=True)
        return 2
    return int(code or 0)
