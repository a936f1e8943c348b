"""The command line: which commands there are, and the one place where an error becomes a line and an exit code.

Thin and quick: a command's module is imported when the command is called, so `watcher --help` loads neither gevent nor
requests nor plugins.
"""

from __future__ import annotations

import difflib
import importlib
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from watcher import __version__
from watcher.errors import ConfigError, WatcherError, printable

BUILT_INS = {
    "check": "Probe one URL once and show where the time goes.",
    "db": "The database: its URL, psql, migrations, roles, secrets, status.",
    "demo": "Watch a test server with invented endpoints: works without a network.",
    "endpoints": "The endpoints table: list, show, import, export, enable, disable, remove.",
    "generate": "Write an endpoints file over a test server.",
    "plugins": "The plugins that are installed: list, reference, figures, a skeleton for a new one.",
    "report": "Availability, incidents and latencies of a period: table, CSV, JSON or a page.",
    "status": "Which endpoints are down now, since when and why, and whether the agents are well.",
    "testserver": "Serve answers of a chosen delay, status, size and misbehaviour.",
    "validate": "Read a configuration and report every mistake in it.",
}
LOG_LEVELS = ("debug", "info", "warning", "error")
PATH = click.Path(path_type=Path)
INTERRUPTED = 130  # 128 + SIGINT
BROKEN_PIPE = 1  # as click has it, which takes care of those during a command


class Commands(click.Group):
    """The subcommands: built-ins are imported when called, plugins are asked for what is no built-in."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the built-ins; plugins are not loaded for that."""
        return sorted({*BUILT_INS, *self.commands})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a built-in, or ask the plugins."""
        if cmd_name in BUILT_INS:
            return importlib.import_module(f"watcher.commands.{cmd_name}").command
        if cmd_name not in self.commands:
            _ask_plugins(self, ctx.params.get("no_plugin", ()))
        return self.commands.get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; for one that is not there, suggest one that is."""
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f" Did you mean '{near[0]}'?" if near else " See 'watcher --help' and 'watcher plugins'."
            ctx.fail(f"No such command '{args[0]}'.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with the help lines of the table above, without importing any."""
        rows = [(name, BUILT_INS.get(name, "")) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _ask_plugins(group: click.Group, disabled: tuple[str, ...]) -> None:
    from watcher import registry

    registry.add_commands(registry.plugin_manager(disabled), group)


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Plugins may add commands: 'watcher plugins' lists them.",
)
@click.option("--config", "path", type=PATH, metavar="FILE", help="Watch the endpoints of this TOML file.")
@click.option("--once", is_flag=True, help="Check each endpoint once, without a database; exit 1 when one is down.")
@click.option("--json", "as_json", is_flag=True, help="With --once: one JSON object a line.")
@click.option("--no-plugin", multiple=True, metavar="NAME", help="Do not load this plugin. May be repeated.")
@click.option("--log-level", type=click.Choice(LOG_LEVELS), default="info", show_default=True, help="What to log.")
@click.version_option(__version__, prog_name="watcher", message="%(prog)s %(version)s")
@click.pass_context
def cli(
    ctx: click.Context, path: Path | None, once: bool, as_json: bool, no_plugin: tuple[str, ...], log_level: str
) -> int:
    """Watch web endpoints: each on its schedule, each check a row in PostgreSQL.

    `watcher --config FILE` runs until SIGTERM or Ctrl-C, and reads the file again on SIGHUP.
    """
    if ctx.invoked_subcommand:
        _refuse_misplaced(ctx)
        return 0
    if path is None:
        if once or as_json or no_plugin or _is_given(ctx, "log_level"):
            raise click.UsageError("Missing option '--config'.")
        click.echo(ctx.get_help())
        return 0
    if once:
        from watcher import green

        green.patch()
        import logging

        from watcher.commands.once import run_once

        logging.basicConfig(level=log_level.upper(), format="%(levelname)s %(name)s %(message)s")
        return run_once(path, no_plugin, as_json)
    if as_json:
        raise click.UsageError("--json goes with --once.")
    from watcher.commands.run import run

    return run(path, no_plugin, log_level)


def _is_given(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _refuse_misplaced(ctx: click.Context) -> None:
    """An option before the subcommand would be taken for granted and do nothing."""
    for parameter in ctx.command.params:
        if parameter.name != "no_plugin" and _is_given(ctx, parameter.name or ""):  # plugins are asked for commands too
            name, command = parameter.opts[0], ctx.invoked_subcommand
            raise click.UsageError(f"{name} before '{command}' has no effect; write it behind, where it takes one.")


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    if os.getpid() == 1:  # as in a container: the kernel keeps from it the signals that it does not handle
        signal.signal(signal.SIGTERM, _end)
    sys.exit(run_guarded(arguments))


def _end(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)


def run_guarded(arguments: list[str] | None = None) -> int:
    """Run the command line; every error that is meant for users becomes lines on standard error and an exit code."""
    try:
        code: Any = cli.main(arguments, prog_name="watcher", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.Abort:  # click makes one of KeyboardInterrupt
        return INTERRUPTED
    except KeyboardInterrupt:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ConfigError as error:
        from watcher.screen import figures

        return _fail([*error.problems, figures.counted(len(error.problems), "mistake")], error.exit_code)
    except WatcherError as error:
        return _fail(str(error).splitlines(), error.exit_code)
    except BrokenPipeError:
        from watcher.screen.journal import silence

        silence(sys.stdout)  # the interpreter flushes once more at its end
        return BROKEN_PIPE
    except OSError as error:
        return _fail([f"{error.filename}: {error.strerror}" if error.filename else str(error)], 1)


def _fail(lines: list[str], code: int) -> int:
    for line in lines:
        click.echo(f"watcher: {printable(line)}", err=True)
    return code
