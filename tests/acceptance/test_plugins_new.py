"""`watcher plugins new`: a skeleton whose own tests pass at once, installed as its author would."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from agent_process import Run
from environments import Environment

from watcher.commands import plugins_new
from watcher.commands.plugins_new import KINDS
from watcher.errors import UsageError


@pytest.fixture(scope="module", name="environment")
def fixture_environment(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Environment:
    """Give an environment that has watcher, and a skeleton of each kind."""
    environment = Environment(tmp_path_factory.mktemp("author") / "environment", wheel)
    for kind in KINDS:
        made = environment.watcher("plugins", "new", f"my-{kind}", "--kind", kind)
        assert (made.returncode, made.stderr) == (0, "")
        names = {path.name for path in (environment.directory / f"watcher-my-{kind}").iterdir()}
        assert names == {"README.md", "pyproject.toml", f"test_my_{kind}.py", f"watcher_my_{kind}.py"}
        assert all(name in made.stdout for name in names)
    environment.install_editable(*environment.directory.glob("watcher-my-*"))
    return environment


@pytest.mark.parametrize("kind", KINDS)
def test_the_tests_of_a_skeleton_pass_at_once(environment: Environment, kind: str) -> None:
    directory = environment.directory / f"watcher-my-{kind}"
    tested = environment.run("python", "-m", "pytest", "-q", "-W", "error", directory)
    assert tested.returncode == 0 and " passed" in tested.stdout, tested.stdout


def test_what_a_skeleton_offers_is_told_of(environment: Environment) -> None:
    listed = environment.watcher("plugins").stdout
    reference = environment.watcher("plugins", "doc", *(f"my_{kind}" for kind in KINDS), "--format", "markdown").stdout
    own = reference.partition("\n## Match\n")[0]
    for kind in KINDS:
        assert f"my_{kind}  (watcher-my-{kind} 0.1.0, watcher_my_{kind})" in listed
        section = own.partition(f"## my_{kind}\n")[2].partition("\n## ")[0]
        table = section.partition("| what it means |\n")[2]
        assert table.count("\n| `") >= 1 and "|  |\n" not in table, section


def test_the_example_in_its_readme_is_a_configuration(environment: Environment) -> None:
    examples = []
    for readme in sorted(environment.directory.glob("watcher-my-*/README.md")):
        examples.append(readme.read_text().partition("```toml\n")[2].partition("```")[0])
    assert len(examples) == len(KINDS)
    path = environment.directory / "watcher.toml"
    path.write_text("\n".join(examples))
    said = environment.watcher("validate", "--config", path)
    assert (said.returncode, said.stderr) == (0, "")
    assert "2 endpoints" in said.stdout


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Page", "lower-case letters"),
        ("page title", "lower-case letters"),
        ("../page", "lower-case letters"),
        ("9lives", "a letter first"),
        ("a--b", "single hyphens"),
        ("page-", "single hyphens"),
        ("", "lower-case letters"),
        ("x" * 41, "40 characters at most"),
        ("watcher-page", "watcher plugins new page"),
        ("regex", 'a plugin "regex" is installed already, from watcher '),
        ("basic-auth", 'a plugin "basic_auth" is installed already'),
        ("method", 'the option "method" is offered by plugin "http" (watcher '),
        ("interval", '"interval" is a key of watcher itself'),
        ("class", '"class" is a word of Python itself'),
    ],
)
def test_a_name_that_would_not_do_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=re.escape(said)):
        plugins_new.command.main([name], standalone_mode=False)
    assert not list(tmp_path.iterdir())


def test_a_refusal_is_one_line(run: Run, tmp_path: Path) -> None:
    refused = run("plugins", "new", "Page")
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert refused.stderr.startswith('watcher: "Page" cannot be the name of a plugin; write lower-case letters')
    assert not list(tmp_path.iterdir())


def test_what_is_there_already_is_left_alone(run: Run, tmp_path: Path) -> None:
    there = tmp_path / "watcher-page-title"
    there.mkdir()
    refused = run("plugins", "new", "page-title")
    assert refused.returncode == 2
    assert refused.stderr == "watcher: watcher-page-title is there already; remove it, or choose another name\n"
    assert not list(there.iterdir())
    there.rmdir()
    there.write_text("a file")
    assert run("plugins", "new", "page-title").returncode == 2


def test_a_kind_that_is_none_is_refused(run: Run) -> None:
    refused = run("plugins", "new", "page-title", "--kind", "hook")
    assert refused.returncode == 2 and "'assertion', 'protocol', 'output', 'discovery'" in refused.stderr


def test_a_directory_that_cannot_be_written_is_told_of(run: Run, tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "none", tmp_path]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a read-only file system")
    try:
        refused = run("plugins", "new", "page-title")
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert refused.returncode == 2 and refused.stderr.endswith("watcher-page-title: Read-only file system\n")
