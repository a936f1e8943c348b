"""The command line as a whole: help, mistakes, errors, signals, third parties' commands."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from agent_process import WATCHER, Eventually, Run, Write

from watcher import __version__
from watcher.cli import BUILT_INS
from watcher.errors import ConfigError, DatabaseUnavailable, EnvironmentProblem

HEAVY = ("gevent", "requests", "psycopg2", "rich", "watcher.registry", "watcher.plugins", "cryptography", "ssl")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["--nonsense"], []])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys; from watcher.cli import run_guarded; code = run_guarded(sys.argv[1:]);"
        f"print(code, [name for name in {HEAVY!r} if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == f"{2 if arguments == ['--nonsense'] else 0} []"


def test_version(run: Run) -> None:
    assert run("--version").stdout == f"watcher {__version__}\n"


def test_help_names_every_command(run: Run) -> None:
    said = run("--help")
    assert said.returncode == 0
    assert all(name in said.stdout for name in BUILT_INS)
    assert "watcher plugins" in said.stdout


@pytest.mark.parametrize("name", BUILT_INS)
def test_every_command_is_there_and_explains_itself(name: str) -> None:
    command = importlib.import_module(f"watcher.commands.{name}").command
    assert isinstance(command, click.Command)
    assert command.help and all(parameter.help for parameter in command.params if isinstance(parameter, click.Option))


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--onse"], "--once"),
        (["chek", "http://localhost/"], "'check'"),
        (["check"], "Missing argument 'URL'"),
        (["check", "http://localhost/", "--heade", "A: b"], "--header"),
        (["check", "http://localhost/", "--header", "no colon"], "NAME: VALUE"),
        (["check", "http://localhost/", "--option", "method"], "KEY=JSON"),
        (["check", "http://localhost/", "--option", "timeout=3"], "--timeout 3"),
        (["check", "http://localhost/", "--option", "interval=30"], "a single check has no use for it"),
        (["check", "http://localhost/", "--timeout", "301"], "300 s is the most"),
        (["--once"], "--config"),
        (["--log-level", "debug"], "--config"),
        (["--json", "--config", "x.toml"], "--once"),
        (["--log-level", "loud", "--config", "x.toml"], "'info'"),
        (["--config", "x.toml", "check", "http://localhost/"], "write it behind"),
    ],
)
def test_a_wrong_command_line_says_how_it_is_meant(run: Run, arguments: list[str], hint: str) -> None:
    said = run(*arguments)
    assert said.returncode == 2
    assert hint in said.stderr and "Usage:" in said.stderr
    assert not said.stdout


def test_every_mistake_of_a_file_is_a_line_and_the_last_line_counts(run: Run, write: Write) -> None:
    said = run(
        "--config", str(write('[[endpoints]]\nurl = "nowhere"\n[[endpoints]]\nurl = "http://a/"\nintervall = 5\n'))
    )
    assert said.returncode == 2
    lines = said.stderr.splitlines()
    assert len(lines) == 3 and all(line.startswith("watcher: ") for line in lines)
    assert "intervall" in lines[1] and '"interval"' in lines[1]
    assert lines[2] == "watcher: 2 mistakes"


def test_a_file_that_is_not_there(run: Run) -> None:
    said = run("--config", "missing.toml")
    assert (said.returncode, said.stdout) == (2, "")
    assert "missing.toml" in said.stderr and "Traceback" not in said.stderr


RAISING = """
import sys
import click
from watcher import errors
from watcher.cli import cli, run_guarded

@cli.command()
def fail():
    raise {error}

sys.exit(run_guarded(["fail"]))
"""


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        ("errors.ConfigError(['a: b', 'c: d'])", ConfigError.exit_code, ["a: b", "c: d", "2 mistakes"]),
        ("errors.DatabaseUnavailable('no answer')", DatabaseUnavailable.exit_code, ["no answer"]),
        ("errors.EnvironmentProblem('port 80 is taken')", EnvironmentProblem.exit_code, ["port 80 is taken"]),
        ("FileNotFoundError(2, 'No such file', '/x/y')", 1, ["/x/y: No such file"]),
        ("KeyboardInterrupt", 130, []),
    ],
)
def test_an_error_becomes_lines_and_an_exit_code(error: str, code: int, lines: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", RAISING.format(error=error)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == code
    assert ended.stderr.strip().splitlines() == [f"watcher: {line}" for line in lines]


def test_a_reader_that_went_away_is_no_error(write: Write, site: str) -> None:
    pages = "".join(f'[[endpoints]]\nurl = "{site}/{number}"\n' for number in range(500))
    command = [*WATCHER, "--once", "--json", "--config", str(write(pages))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_ctrl_c_ends_a_check_quietly(site: str, eventually: Eventually) -> None:
    command = [*WATCHER, "check", f"{site}/never", "--timeout", "60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        port = site.rpartition(":")[2]

        def is_connected() -> bool:
            """the probe has its connection"""
            with open(f"/proc/{process.pid}/net/tcp", encoding="ascii") as table:
                states = [line.split()[2:4] for line in table]
            return any(to.endswith(f":{int(port):04X}") and state == "01" for to, state in states)

        eventually(is_connected, within_s=30)
        process.send_signal(signal.SIGINT)
        assert process.communicate() == ("", "\n"), "the shell's next line begins on a line of its own"
    assert process.returncode == 130


TERMINATED_AT_ONCE = """
import os
import signal
from watcher.cli import cli, main

@cli.command()
def endure():
    os.kill(os.getpid(), signal.SIGTERM)
    print("endured it as process", os.getpid())

main(["endure"])
"""


def test_process_1_ends_by_sigterm_from_the_beginning() -> None:
    """As in a container: the kernel keeps from process 1 the signals that it has no handler for."""
    alone = ["unshare", *(["--user", "--map-root-user"] if os.geteuid() else []), "--pid", "--fork", "--kill-child"]
    if not shutil.which("unshare") or subprocess.run([*alone, "true"], check=False, capture_output=True).returncode:
        pytest.skip("may not make a namespace of processes")
    command = [*alone, sys.executable, "-c", TERMINATED_AT_ONCE]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (128 + signal.SIGTERM, "", "")


PLUGIN = """
import click
from watcher import hookimpl

@hookimpl
def watcher_commands(cli):
    @cli.command()
    @click.argument("name")
    def greet(name):
        "Greet somebody."
        click.echo(f"hello {name}")
"""


def installed(path: Path, source: str) -> dict[str, str]:
    """Install a plugin named greeting, and give the environment in which it is found."""
    (path / "greeting.py").write_text(source, encoding="utf-8")
    package = path / "watcher_greeting-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: watcher-greeting\nVersion: 1.0\n", encoding="utf-8")
    (package / "entry_points.txt").write_text("[watcher]\ngreeting = greeting\n", encoding="utf-8")
    return {"PYTHONPATH": str(path)}


def test_a_third_party_adds_a_command(run: Run, tmp_path_factory: pytest.TempPathFactory) -> None:
    there = installed(tmp_path_factory.mktemp("site-packages"), PLUGIN)
    assert run("greet", "you", **there).stdout == "hello you\n"
    assert "Greet somebody." in run("greet", "--help", **there).stdout
    assert "'greet'" in run("gret", "you", **there).stderr
    assert run("--no-plugin", "greeting", "greet", "you", **there).returncode == 2
    assert run("greet", "you").returncode == 2


def test_a_plugin_that_cannot_add_its_command_is_named(run: Run, tmp_path_factory: pytest.TempPathFactory) -> None:
    source = PLUGIN.replace("(cli):\n", "(cli):\n    raise KeyError('greet')\n")
    there = installed(tmp_path_factory.mktemp("site-packages"), source)
    said = run("greet", "you", **there)
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr == (
        "watcher: plugin \"greeting\" (watcher-greeting 1.0): watcher_commands: KeyError: 'greet'; "
        "go on without it by watcher --no-plugin greeting and the command\n"
    )
    assert "No such command" in run("--no-plugin", "greeting", "greet", **there).stderr
    assert run("plugins", **there).returncode == 0


@pytest.mark.parametrize("command", [["plugins"], ["check", "http://localhost/"], ["endpoints", "list"]])
def test_a_plugin_that_does_not_load_can_be_left_out_before_the_command_and_behind(
    run: Run, command: list[str], write: Write
) -> None:
    config = [] if command == ["plugins"] else ["--config", str(write(""))]
    for arguments in (["--no-plugin", "nonesuch", *command, *config], [*command, *config, "--no-plugin", "nonesuch"]):
        said = run(*arguments)
        assert said.returncode == 2 and 'no plugin "nonesuch"' in said.stderr
