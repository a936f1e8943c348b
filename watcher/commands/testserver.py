"""`watcher testserver`: a server that answers as each request's URL asks it to, well or badly."""

from __future__ import annotations

from pathlib import Path

import click


def _print_kinds(context: click.Context, option: click.Parameter, wanted: bool) -> None:
    """Print what the server knows, and end."""
    del option
    if not wanted or context.resilient_parsing:
        return
    from watcher.testserver import table

    click.echo(table.everything())
    context.exit()


@click.command(epilog="Example: watcher testserver, then watcher check 'http://127.0.0.1:8080/?delay=50ms&status=503'")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0: any that is free.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 256), help="Processes on that port.")
@click.option("--tls", is_flag=True, help="Serve https as well, with a throw-away certificate.")
@click.option("--tls-port", default=0, type=click.IntRange(0, 65535), help="Of https.  [default: any that is free]")
@click.option("--certificate", type=click.Path(path_type=Path), help="Certificate chain for https, PEM.")
@click.option("--key", type=click.Path(path_type=Path), help="Its private key, PEM.")
@click.option("--ca-file", type=click.Path(path_type=Path), help="Write the throw-away certificate's CA here.")
@click.option("--traps", is_flag=True, help="Open a port for each failure that comes before a request.")
@click.option("--seed", default=0, show_default=True, help="Decides which requests fail where a share has to.")
@click.option("--while-stdin", is_flag=True, hidden=True, help="End with the standard input.")
@click.option(
    "--kinds", is_flag=True, is_eager=True, expose_value=False, callback=_print_kinds,
    help="List parameters, bad answers and traps, and end.",
)  # fmt: skip
def command(**options: object) -> None:
    """Run an HTTP server for tests.

    What it answers is in the URL: /?delay=50ms&status=503&size=1k, or /bad/KIND for a bad answer.
    """
    from watcher.testserver.server import Options, serve

    if (options["certificate"] is None) != (options["key"] is None):
        raise click.UsageError("--certificate and --key belong together")
    options["tls"] = bool(options["tls"] or options["certificate"])
    serve(Options(**options), click.echo)
