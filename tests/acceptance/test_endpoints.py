"""`watcher endpoints` as a user types it."""

from __future__ import annotations

import csv
import json
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg2
import pytest

from watcher.cli import run_guarded
from watcher.store import interchange

Watcher = Callable[..., tuple[int, str, str]]

SITES = '''\
name,url,interval,timeout,priority,enabled,labels,locations,options,regex,basic_auth,status
front page,https://example.com/,30s,10,-3,TRUE,"{""team"": ""web""}","fra, nyc","{""max_body"": 4096}",Example Domain,,"[""2xx"", 304]"
"quoted, ""name""",https://example.com/2,,,,,,,,[1],,304
,https://example.com/unnamed,,,,false,,"[""fra""]",,,"{""username"": ""u"", ""password"": ""${PROBE_PASSWORD}""}",
'''
STORED = [
    {
        "name": "front page", "url": "https://example.com/", "interval": 30, "timeout": 10,
        "priority": -3, "enabled": True, "labels": {"team": "web"}, "locations": ["fra", "nyc"],
        "options": {"max_body": 4096, "regex": "Example Domain", "status": ["2xx", 304]},
    },
    {
        "name": "https://example.com/unnamed", "url": "https://example.com/unnamed", "interval": 60, "timeout": 10,
        "priority": 0, "enabled": False, "labels": {}, "locations": ["fra"],
        "options": {"basic_auth": {"username": "u", "password": "${PROBE_PASSWORD}"}},
    },
    {
        "name": 'quoted, "name"', "url": "https://example.com/2", "interval": 60, "timeout": 10,
        "priority": 0, "enabled": True,
        "labels": {}, "locations": [], "options": {"regex": "[1]", "status": 304},
    },
]  # fmt: skip


@pytest.fixture(name="place")
def make_place(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a directory with a configuration file, whose endpoints are wrong, which is no matter here."""
    text = f'[database]\ndsn = "{database}"\n\n[[endpoints]]\nname = "wrong"\nurl = "no URL"\n'
    (tmp_path / "w.toml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROBE_PASSWORD", "geheim")
    return tmp_path


@pytest.fixture(name="watcher")
def make_watcher(place: Path, capfd: pytest.CaptureFixture[str]) -> Watcher:
    """Give a function that runs `watcher endpoints` with that configuration: exit code, output, messages."""

    def run(command: str, *arguments: str) -> tuple[int, str, str]:
        code = run_guarded(["endpoints", command, *arguments, "--config", str(place / "w.toml")])
        return code, *capfd.readouterr()

    return run


@pytest.fixture(name="stocked")
def stock(place: Path, watcher: Watcher) -> Watcher:
    """Import the sites."""
    (place / "sites.csv").write_text(SITES, encoding="utf-8")
    assert watcher("import", "sites.csv")[0] == 0
    return watcher


def names(watcher: Watcher, *arguments: str) -> list[str]:
    """Name the endpoints that a list has."""
    return [json.loads(line)["name"] for line in watcher("list", "--json", *arguments)[1].splitlines()]


def test_an_import_says_what_it_did(place: Path, watcher: Watcher) -> None:
    (place / "sites.csv").write_text(SITES, encoding="utf-8")
    source = f"import:{place}/sites.csv"
    assert watcher("import", "sites.csv") == (0, f"{source}: 3 added\n", "")
    (place / "sites.csv").write_text(SITES.replace("30s", "31s"), encoding="utf-8")
    assert watcher("import", "sites.csv") == (0, f"{source}: 1 changed, 2 unchanged\n", "")


def test_the_table_holds_what_the_file_said(stocked: Watcher) -> None:
    code, output, _ = stocked("export", "--format", "ndjson")
    assert code == 0
    assert [json.loads(line) for line in output.splitlines()] == STORED


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_an_export_comes_back_unchanged(place: Path, stocked: Watcher, form: str) -> None:
    with psycopg2.connect(dsn(place)) as connection, connection.cursor() as cursor:
        odd = (
            "a ${b} \\ ☃",
            "https://${HOST:-x}/",
            json.dumps({"k": "${v} ,\n"}),
            ["a b", 'c"d'],
            '{"body": {"json": [1.5]}}',
        )
        cursor.execute("INSERT INTO endpoints (name, url, labels, locations, options) VALUES (%s, %s, %s, %s, %s)", odd)
    connection.close()
    first, second = place / f"first.{form}", place / f"second.{form}"
    assert stocked("export", str(first)) == (0, "", "4 endpoints written\n")
    content = first.read_text(encoding="utf-8")
    source = f"import:{place}/sites.csv"
    assert stocked("import", str(first), "--source", source)[1].endswith(": 1 changed, 3 unchanged\n")
    with psycopg2.connect(dsn(place)) as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM endpoints")
    connection.close()
    assert stocked("import", str(first))[0] == 0
    assert stocked("export", str(second))[0] == 0
    assert second.read_text(encoding="utf-8") == content


def dsn(place: Path) -> str:
    """Give the DSN of the configuration."""
    return (place / "w.toml").read_text(encoding="utf-8").split('"')[1]


def test_csv_is_what_other_programs_read(place: Path, stocked: Watcher) -> None:
    stocked("export", "out.csv")
    with open(place / "out.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [one["name"] for one in STORED]
    assert [json.loads(row["options"]) for row in rows] == [one["options"] for one in STORED]


def test_every_mistake_is_named_with_its_line_and_nothing_is_imported(place: Path, watcher: Watcher) -> None:
    (place / "bad.csv").write_text(
        "name,url,interval,regex\n"
        "good,https://example.com/,30,\n"
        '"two\nlines",https://example.com/,30,\n'
        "fast,https://example.com/,4,\n"
        "pattern,https://example.com/,,(\n"
        "nothing,,,\n"
        "good,https://example.com/,40,\n"
        "short,https://example.com/\n",
        encoding="utf-8",
    )
    code, output, messages = watcher("import", "bad.csv")
    assert (code, output) == (2, "")
    for line, word in [
        (3, "name"),
        (5, "interval"),
        (6, "regex"),
        (7, "url"),
        (8, "line 2 has it already"),
        (9, "2 cells"),
    ]:
        assert any(f"bad.csv:{line}:" in message and word in message for message in messages.splitlines()), (line, word)
    assert "6 mistakes" in messages
    assert names(watcher) == []
    code, output, messages = watcher("import", "bad.csv", "--skip-bad")
    assert (code, output) == (0, f"import:{place}/bad.csv: 1 added\n")
    assert messages.count("skipped: bad.csv:") == 6


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", 'bad.csv:1: no column "url"'),
        (b"name;url\na;https://a/\n", "separate the columns by commas"),
        (b"url,regx\nhttps://a/,x\n", 'bad.csv:1: no column or option "regx"; did you mean "regex"?'),
        (b"url,url\nhttps://a/,x\n", 'bad.csv:1: two columns "url"'),
        (b"name,url\n\xff\xfe,https://a/\n", "not UTF-8"),
        (b'url\n"https://a/\n', "not CSV"),
        (b"url,labels\nhttps://a/,team\n", 'bad.csv:2: endpoint "https://a/": labels'),
        (b"url,options\nhttps://a/,7\n", "bad.csv:2: options: expected a JSON object"),
        (b'url,regex,options\nhttps://a/,x,"{""regex"": ""y""}"\n', 'regex: stands under "options" too'),
    ],
)
def test_what_is_no_list_of_endpoints_is_refused(place: Path, watcher: Watcher, content: bytes, expected: str) -> None:
    (place / "bad.csv").write_bytes(content)
    code, _, messages = watcher("import", "bad.csv")
    assert code == 2
    assert expected in messages


def test_lines_that_are_no_json_objects_are_named(place: Path, watcher: Watcher) -> None:
    (place / "bad.ndjson").write_bytes(
        b'\xef\xbb\xbf{"url": "https://a/"}\n\n[1]\n{"url": \n{"url": "\xff"}\n{"url": "https://b/"}'
    )
    code, output, messages = watcher("import", "bad.ndjson", "--skip-bad")
    assert (code, output) == (0, f"import:{place}/bad.ndjson: 2 added\n")
    assert [message.split(":")[3] for message in messages.splitlines()] == ["3", "4", "5"]


def test_replace_removes_what_the_file_lacks_of_its_source(place: Path, stocked: Watcher) -> None:
    (place / "other.csv").write_text("url\nhttps://other/\n", encoding="utf-8")
    stocked("import", "other.csv")
    (place / "sites.csv").write_text("".join(SITES.splitlines(keepends=True)[:2]), encoding="utf-8")
    source = f"import:{place}/sites.csv"
    assert stocked("import", "sites.csv")[1] == f"{source}: 1 unchanged\n"
    assert stocked("import", "sites.csv", "--replace")[1].startswith(f"{source}: 2 removed")
    assert names(stocked) == ["front page", "https://other/"]
    assert len(names(stocked, "--removed")) == 2


def test_an_import_from_another_source_says_whose_names_it_takes(place: Path, stocked: Watcher) -> None:
    (place / "other.csv").write_text("name,url\nfront page,https://other/\n", encoding="utf-8")
    _, _, messages = stocked("import", "other.csv")
    there = f"import:{place}"
    assert messages == f'watcher: "front page" came from {there}/sites.csv and comes from {there}/other.csv now\n'


def test_files_of_the_same_name_are_different_sources(place: Path, watcher: Watcher) -> None:
    for directory in ("a", "b"):
        (place / directory).mkdir()
        (place / directory / "sites.csv").write_text(f"url\nhttps://{directory}/\n", encoding="utf-8")
        assert watcher("import", f"{directory}/sites.csv", "--replace")[1].endswith(": 1 added\n")
    assert names(watcher) == ["https://a/", "https://b/"]


def test_a_list_is_a_table_of_what_was_asked_for(place: Path, stocked: Watcher) -> None:
    _, output, _ = stocked("list")
    assert output.splitlines()[0].split() == ["NAME", "URL", "EVERY", "STATE", "LABELS", "SOURCE"]
    assert output.splitlines()[1].split("  ")[0] == "front page"
    assert len(output.splitlines()) == 4
    assert names(stocked, "--label", "team=web") == ["front page"]
    assert names(stocked, "--disabled") == ["https://example.com/unnamed"]
    assert names(stocked, "--source", f"import:{place}/sites.csv", "--label", "team=db") == []
    assert stocked("list", "--source", "nobody") == (0, "", "no endpoints\n")


def test_secrets_are_hidden_in_list_and_show_and_told_of_in_an_export(place: Path, watcher: Watcher) -> None:
    row = {"name": "login", "url": "https://example.com/", "basic_auth": {"username": "u", "password": "secret2"}}
    (place / "login.ndjson").write_text(json.dumps(row), encoding="utf-8")
    assert watcher("import", "login.ndjson")[0] == 0
    with psycopg2.connect(dsn(place)) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE endpoints SET url = 'https://u:secret1@example.com/'")
    connection.close()
    for arguments in (["list"], ["list", "--json"], ["show", "login"], ["show", "login", "--json"]):
        code, output, messages = watcher(*arguments)
        assert code == 0 and "login" in output
        assert "secret1" not in output + messages and "secret2" not in output + messages
    code, output, messages = watcher("export")
    assert "secret1" in output and "secret2" in output
    assert messages == "1 endpoints written\nwatcher: secrets are in it, of login; keep the file as safe as they\n"


def test_a_reference_is_shown_and_exported_as_such(stocked: Watcher) -> None:
    _, output, _ = stocked("show", "https://example.com/unnamed")
    assert "${PROBE_PASSWORD}" in output and "geheim" not in output
    _, output, messages = stocked("export")
    assert "${PROBE_PASSWORD}" in output and "geheim" not in output
    assert messages == "3 endpoints written\n"


def test_show_tells_all_of_several(stocked: Watcher) -> None:
    code, output, _ = stocked("show", "front page", 'quoted, "name"', "--json")
    shown = [json.loads(line) for line in output.splitlines()]
    assert code == 0
    assert [one["options"] for one in shown] == [STORED[0]["options"], STORED[2]["options"]]
    assert shown[0].keys() >= {"id", "url", "interval_s", "labels", "locations", "source", "created_at", "updated_at"}
    _, output, _ = stocked("show", "front page")
    assert 'labels:      {"team":"web"}' in output.splitlines()


@pytest.mark.parametrize(
    "arguments", [("show", "fornt page"), ("disable", "Front Page"), ("remove", "front pages", "--yes")]
)
def test_a_name_that_is_none_is_met_with_a_near_one(stocked: Watcher, arguments: tuple[str, ...]) -> None:
    code, _, messages = stocked(*arguments)
    assert code == 2
    assert messages == f'watcher: no endpoint "{arguments[1]}"; did you mean "front page"?\n'


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--label", "team=wbe"), 'no endpoint has label team="wbe"'),
        (("--source", "import:{}/site.csv"), 'source "import:{}/site.csv"; did you mean "import:{}/sites.csv"?'),
        (("--label", "team"), "write it as KEY=VALUE"),
        ((), "which endpoints?"),
    ],
)
def test_a_choice_of_none_is_a_mistake(
    place: Path, stocked: Watcher, arguments: tuple[str, ...], expected: str
) -> None:
    code, _, messages = stocked("disable", *(argument.replace("{}", str(place)) for argument in arguments))
    assert code == 2
    assert expected.replace("{}", str(place)) in messages


def test_one_wrong_name_among_right_ones_changes_nothing(stocked: Watcher) -> None:
    assert stocked("remove", "front page", "nonsense", "--yes")[0] == 2
    assert len(names(stocked)) == 3


def test_endpoints_are_disabled_enabled_and_removed(place: Path, stocked: Watcher) -> None:
    assert stocked("disable", "front page", "https://example.com/unnamed") == (0, "1 disabled, 1 were so before\n", "")
    assert names(stocked, "--disabled") == ["front page", "https://example.com/unnamed"]
    assert stocked("enable", "--source", f"import:{place}/sites.csv") == (0, "2 enabled, 1 were so before\n", "")
    assert stocked("remove", "--label", "team=web", "--yes") == (0, "1 removed\n", "")
    assert names(stocked, "--removed") == ["front page"]


def test_whoever_changes_a_file_s_endpoint_is_told_that_the_file_decides(place: Path, stocked: Watcher) -> None:
    stocked("import", "sites.csv", "--source", "file:/etc/w.toml")
    del place
    _, _, messages = stocked("disable", "front page")
    assert messages == "watcher: a reload or restart enables it again; set enabled = false in /etc/w.toml\n"
    _, _, messages = stocked("enable", "--source", "file:/etc/w.toml")
    said = "a reload or restart disables again what has enabled = false in /etc/w.toml; take that out there"
    assert messages == f"watcher: {said}\n"


def test_whoever_disables_what_a_plugin_found_is_told_that_the_plugin_decides(stocked: Watcher) -> None:
    stocked("import", "sites.csv", "--source", "plugin:shops")
    _, _, messages = stocked("disable", "--source", "plugin:shops")
    assert messages == "watcher: the plugin shops decides: what it finds next says anew whether they are enabled\n"


@pytest.mark.parametrize(("answer", "left"), [(b"y\n", 2), (b"n\n", 3), (b"\n", 3), (b"\x04", 3)])
def test_remove_asks_first(stocked: Watcher, run: Callable, answer: bytes, left: int) -> None:
    ours, terminal = os.openpty()
    os.write(ours, answer)  # \x04 is Ctrl-D: the end of the input
    ended = subprocess.run(
        [*run.__globals__["WATCHER"], "endpoints", "remove", "front page", "--config", "w.toml"],
        stdin=terminal, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    os.close(ours)
    os.close(terminal)
    assert "Remove 1 endpoint (front page)? [y/N]" in ended.stdout
    assert (ended.returncode, ended.stderr) == ((0, "") if left == 2 else (1, "watcher: nothing was removed\n"))
    assert len(names(stocked)) == left


def test_remove_wants_yes_where_nobody_can_be_asked(stocked: Watcher, run: Callable) -> None:
    ended = subprocess.run(
        [*run.__globals__["WATCHER"], "endpoints", "remove", "front page", "--config", "w.toml"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 2 and "add --yes" in ended.stderr and not ended.stdout
    assert len(names(stocked)) == 3


def test_an_export_replaces_the_file_when_it_is_complete_and_is_for_its_owner_alone(
    place: Path, stocked: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "out.csv").write_text("the old one", encoding="utf-8")
    (place / "link.csv").symlink_to("out.csv")
    before = sorted(place.iterdir())
    with monkeypatch.context() as patched:
        patched.setattr(interchange, "_cell", None)  # it breaks after the header
        with pytest.raises(TypeError):
            stocked("export", "link.csv")
    assert (place / "out.csv").read_text(encoding="utf-8") == "the old one"
    assert stocked("export", "link.csv")[0] == 0
    assert (place / "out.csv").read_text(encoding="utf-8").startswith("name,url,")
    assert stat.S_IMODE((place / "out.csv").stat().st_mode) == 0o600
    assert sorted(place.iterdir()) == before and (place / "link.csv").is_symlink()
    assert stocked("export", "/dev/stdout", "--format", "csv")[1].startswith("name,url,")
    assert stocked("export", "nowhere/out.csv")[0] == 1


def test_a_row_that_is_nested_too_deeply_is_listed(place: Path, stocked: Watcher) -> None:
    with psycopg2.connect(dsn(place)) as connection, connection.cursor() as cursor:
        deep = '{"x":' + "[" * 1500 + "]" * 1500 + "}"
        cursor.execute("UPDATE endpoints SET options = %s, labels = %s", (deep, deep))
    connection.close()
    for arguments in (("list",), ("list", "--json"), ("show", "front page"), ("show", "front page", "--json")):
        code, output, _ = stocked(*arguments)
        assert code == 0 and "front page" in output
    assert stocked("export", "out.csv")[0] == 0
    code, _, messages = stocked("import", "out.csv")
    assert code == 2 and "out.csv:2: options: expected a JSON object" in messages


def test_a_plugin_can_be_left_out_wherever_one_says_so(place: Path, stocked: Watcher) -> None:
    (place / "one.csv").write_text("url,regex\nhttps://a/,x\n", encoding="utf-8")
    left_out = ["--no-plugin", "regex"]
    assert stocked("import", "one.csv", *left_out)[0] == 2
    assert run_guarded([*left_out, "endpoints", "import", "one.csv", "--config", "w.toml"]) == 2
    assert stocked("import", "one.csv")[0] == 0


def test_an_import_reads_standard_input(stocked: Watcher, run: Callable) -> None:
    ended = subprocess.run(
        [*run.__globals__["WATCHER"], "endpoints", "import", "-", "--format", "ndjson", "--config", "w.toml"],
        input='{"url": "https://a/"}\n', capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "import:stdin: 1 added\n"
    assert len(names(stocked)) == 4


def test_a_format_that_cannot_be_told_must_be_said(place: Path, watcher: Watcher) -> None:
    (place / "sites.txt").write_text("url\nhttps://a/\n", encoding="utf-8")
    code, _, messages = watcher("import", "sites.txt")
    assert code == 2
    assert "--format" in messages
    assert watcher("import", "sites.txt", "--format", "csv")[0] == 0


def test_without_a_dsn_the_embedded_database_keeps_them(run: Callable, prepared_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "w.toml").write_text(f'[agent]\ndata_dir = "{prepared_dir}"\n', encoding="utf-8")
    (tmp_path / "sites.csv").write_text("url\nhttps://a/\n", encoding="utf-8")
    assert run("endpoints", "import", "sites.csv", "--config", "w.toml").returncode == 0
    assert "https://a/" in run("endpoints", "list", "--config", "w.toml").stdout


def test_names_written_by_others_cannot_drive_the_terminal(place: Path, watcher: Watcher) -> None:
    with psycopg2.connect(dsn(place)) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO endpoints (name, url) VALUES (E'a\\x1b[2Jb', 'https://a/')")
    connection.close()
    _, output, _ = watcher("list")
    assert "\x1b" not in output and "a�[2Jb" in output
