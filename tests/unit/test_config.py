"""`watcher.config`: files into settings and endpoints, rows into endpoints, and every mistake with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from option_types import Login, Trust, option_types

from watcher import config, registry
from watcher.config import EndpointSpec
from watcher.errors import ConfigError

ISSUE = '''
[database]                 # leave out: embedded PostgreSQL under agent.data_dir
dsn = "postgresql://watcher:${DB_PASSWORD}@db/watcher"

[agent]
data_dir = "/var/lib/watcher"
location = "local"
workers = 2                # default: one a core
concurrency = 2000         # probes in flight a worker
keepers = 2

[defaults]
interval = "60s"
timeout = 10

[[endpoints]]
name = "front page"
url = "https://example.com/"
interval = 30
regex = "Example Domain"
status = ["2xx", 304]

[[endpoints]]
name = "front page, must not mention errors"
url = "https://example.com/"
regex = { pattern = "error|exception", absent = true, ignore_case = true }

[[endpoints]]
name = "login"
url = "https://example.com/login"
method = "POST"
basic_auth = { username = "probe", password = "${PROBE_PASSWORD}" }
headers = { X-Probe = "watcher" }
body = { json = { user = "probe" } }
tls = { verify = true, ca = "CA_FILE" }
labels = { team = "web" }
'''


def load(directory: Path, text: str, **more: str) -> config.Config:
    """Load a main file that includes others."""
    (directory / "main.toml").write_text(text)
    for name, other in more.items():
        (directory / f"{name}.toml").write_text(other)
    return config.load(directory / "main.toml", option_types())


def mistakes_in(directory: Path, text: str, **more: str) -> list[str]:
    """Load what must be wrong; lines are without the directory."""
    with pytest.raises(ConfigError) as raised:
        load(directory, text, **more)
    return [line.replace(f"{directory}/", "") for line in raised.value.problems]


def one(directory: Path, text: str, defaults: str = "") -> EndpointSpec:
    """Load one endpoint."""
    return load(directory, f'[defaults]\n{defaults}\n[[endpoints]]\nurl = "https://a.example/"\n{text}').endpoints[0]


def test_the_file_of_the_issue_means_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ca_file: Path
) -> None:
    monkeypatch.setenv("DB_PASSWORD", "s3cret")
    monkeypatch.setenv("PROBE_PASSWORD", "hunter2")
    path = tmp_path / "issue.toml"
    path.write_text(ISSUE.replace("CA_FILE", str(ca_file)))
    loaded, _, types = registry.configured(path)
    assert loaded.settings.database.dsn == "postgresql://watcher:s3cret@db/watcher"
    assert loaded.settings.agent.data_dir == Path("/var/lib/watcher")
    assert (loaded.settings.agent.workers, loaded.settings.agent.keepers) == (2, 2)
    assert loaded.settings.source == f"file:{path}"
    front, without, login = (config.endpoint(spec, types) for spec in loaded.endpoints)
    assert (front.interval_s, without.interval_s, front.timeout_s) == (30.0, 60.0, 10.0)
    assert front.url == without.url == "https://example.com/"
    assert set(front.options) == {"regex", "status"} and set(without.options) == {"regex"}
    assert login.labels == {"team": "web"}
    assert str.__str__(login.options["basic_auth"].password) == "hunter2"
    assert "hunter2" not in repr(loaded) + repr(login)


@pytest.fixture(scope="session", name="ca_file")
def write_ca_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a certificate authority."""
    trustme = pytest.importorskip("trustme")
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    trustme.CA().cert_pem.write_to_path(path)
    return path


def test_an_endpoint_needs_no_more_than_its_url(tmp_path: Path) -> None:
    assert one(tmp_path, "") == EndpointSpec(
        name="https://a.example/",
        url="https://a.example/",
        interval_s=60.0,
        timeout_s=10.0,
        enabled=True,
        source=f"file:{tmp_path}/main.toml",
    )


def test_every_core_key_is_taken(tmp_path: Path) -> None:
    text = """
    name = "a"
    interval = "5m"
    timeout = "500ms"
    priority = -7
    enabled = false
    labels = { team = "web" }
    locations = ["eu", "us"]
    """
    spec = one(tmp_path, text)
    assert spec.priority == config.endpoint(spec, option_types()).priority == -7
    assert (spec.name, spec.interval_s, spec.timeout_s, spec.enabled) == ("a", 300.0, 0.5, False)
    assert (spec.labels, spec.locations) == ({"team": "web"}, ("eu", "us"))


def test_an_endpoint_overrides_defaults_key_by_key(tmp_path: Path) -> None:
    defaults = 'interval = 20\nlabels = { a = "1", b = "2" }\nlogin = { user = "me", password = "x" }\nmost = 1'
    spec = one(tmp_path, 'labels = { a = "3" }\nmost = 2', defaults)
    assert (spec.interval_s, spec.labels) == (20.0, {"a": "3"})
    assert spec.options == {"login": {"user": "me", "password": "x"}, "most": 2}


def test_a_default_timeout_is_lowered_to_the_interval(tmp_path: Path) -> None:
    assert one(tmp_path, "interval = 5").timeout_s == 5.0
    assert one(tmp_path, "interval = 5", "timeout = 30").timeout_s == 5.0
    assert one(tmp_path, "", "timeout = 30").timeout_s == 30.0
    (line,) = mistakes_in(tmp_path, '[[endpoints]]\nurl = "https://a.example/"\ninterval = 5\ntimeout = 6')
    assert line == (
        'main.toml: endpoint "https://a.example/": timeout: 6 s is longer than the interval of 5 s; lower it, or make '
        "the interval longer"
    )


def test_defaults_hold_for_included_files_which_may_refine_them(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        'include = ["a.toml"]\n[defaults]\ninterval = 20\nmost = 1\n[[endpoints]]\nurl = "https://m.example/"',
        a='include = ["b.toml"]\n[defaults]\nmost = 2\n[[endpoints]]\nurl = "https://a.example/"',
        b='[[endpoints]]\nurl = "https://b.example/"\ninterval = 30',
    )
    assert [(spec.url[8], spec.interval_s, spec.options) for spec in found.endpoints] == [
        ("m", 20.0, {"most": 1}),
        ("a", 20.0, {"most": 2}),
        ("b", 30.0, {"most": 2}),
    ]
    assert {spec.source for spec in found.endpoints} == {f"file:{tmp_path}/main.toml"}


def test_paths_begin_at_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "pw").write_text("x")
    (tmp_path / "more/a.toml").write_text('[[endpoints]]\nurl = "https://a.example/"')
    main = 'include = ["more/*.toml"]\n[defaults]\ntrust = { ca = "ca.pem" }\n'
    main += '[[endpoints]]\nurl = "https://m.example/"\nlogin = { user = "u", password_file = "pw" }'
    found = load(tmp_path, main).endpoints
    assert [spec.options["trust"] for spec in found] == [{"ca": f"{tmp_path}/ca.pem"}] * 2
    assert found[0].options["login"]["password_file"] == f"{tmp_path}/pw"


def test_specs_keep_references_and_endpoints_have_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T", "hunter2")
    monkeypatch.setenv("H", "a.example")
    text = '''[[endpoints]]
    name = "of ${H}"
    url = "https://${H}/?t=${T}"
    interval = "${I:-15}"
    enabled = "${E:-false}"
    labels = { host = "${H}", literal = "$${H}" }
    token = "${T}"
    '''
    spec = load(tmp_path, text).endpoints[0]
    assert (spec.name, spec.url, spec.options) == ("of a.example", "https://${H}/?t=${T}", {"token": "${T}"})
    assert (spec.interval_s, spec.enabled) == (15.0, False)
    assert spec.labels == {"host": "a.example", "literal": "${H}"}
    found = config.endpoint(spec, option_types())
    assert (found.name, found.url, found.labels) == ("of a.example", "https://a.example/?t=hunter2", spec.labels)
    assert found.options == {"token": "hunter2"}


def test_equal_options_are_one_object(tmp_path: Path) -> None:
    table = '[[endpoints]]\nurl = "https://a.example/{}"\ncodes = [1]\nlabels = {{ a = "b" }}\n'
    (tmp_path / "main.toml").write_text("".join(table.format(number) for number in range(50)))
    types = option_types()
    specs = config.load(tmp_path / "main.toml", types).endpoints
    found = [config.endpoint(spec, types) for spec in specs]
    for name in ("options", "labels"):
        assert len({id(getattr(spec, name)) for spec in specs}) == 1
        assert len({id(getattr(endpoint, name)) for endpoint in found}) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("intervall = 5", 'intervall: unknown option "intervall"; did you mean "interval"?'),
        ("interval = 4.9", "interval: must be from 5 to 300 seconds, got 4.9"),
        ("interval = 301", "interval: must be from 5 to 300 seconds, got 301"),
        ('interval = "soon"', "interval: expected a duration such as 30"),
        ("interval = true", "interval: expected a duration such as 30"),
        ("interval = nan", "interval: expected a duration such as 30"),
        ("timeout = 0", "timeout: must be more than 0 seconds, got 0"),
        ("timeout = 60.5", "timeout: 60.5 s is longer than the interval of 60 s"),
        ("name = 5", "name: expected a string that is not empty, got 5"),
        ('name = ""', "name: expected a string that is not empty"),
        ('name = "a\\nb"', "name: contains a line break"),
        (f'name = "{"n" * 501}"', "name: has 501 characters; 500 is the most"),
        ('enabled = "yes"', 'enabled: expected true or false, got "yes"'),
        ("labels = { a = 1 }", "labels.a: expected a string, got 1"),
        ('labels = { a = "\\u0000" }', "labels: must not contain the character U+0000"),
        ('labels = "a"', 'labels: expected a table of strings, got "a"'),
        ('locations = "eu"', 'locations: expected a list of strings that is not empty, got "eu"'),
        ("locations = [1]", "locations[0]: expected a string that is not empty, got 1"),
        ('url = "${NONE}"', "url: environment variable NONE is not set"),
        ('pattern = "("', "pattern: bad pattern: missing )"),
        ('trust = { verfy = true }', 'trust.verfy: unknown key; did you mean "verify"?'),
        ('login = { user = "me" }', 'login: "password" is missing; add "password" or "password_file"'),
        ('login = { user = "me", password_file = "none" }', "login.password_file: cannot read "),
        ("codes = [200, 3.5]", "codes[1]: expected a whole number or a string, got 3.5"),
        ("most = 2024-02-29", "most: expected a whole number"),
        ('codes = ["\\u0000"]', "codes[0]: must not contain the character U+0000"),
    ],
)
def test_reports_a_mistake_with_file_endpoint_and_key(tmp_path: Path, text: str, said: str) -> None:
    url = "" if "url" in text else 'url = "https://a.example/"\n'
    lines = mistakes_in(tmp_path, f"[[endpoints]]\n{url}{text}")
    assert len(lines) == 1
    place, _, rest = lines[0].partition('": ')
    assert place.startswith('main.toml: endpoint "') and rest.startswith(said)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('name = "x"', 'main.toml: endpoint "x": url: is missing; add url = "https://…"'),
        ("timeout = 1", 'main.toml: endpoint #1: url: is missing; add url = "https://…"'),
        ("url = 5", "main.toml: endpoint #1: url: expected a string, got 5"),
        (
            'url = "https://me:hunter2@a.example/"',
            'main.toml: endpoint "https://me:***@a.example/": url: holds a user or password, which would be shown '
            "wherever the URL is; use basic_auth instead",
        ),
        (
            f'url = "https://a.example/{"x" * 600}"',
            f'main.toml: endpoint "https://a.example/{"x" * 600}": name: is missing, and the URL is too long for one; '
            "add a name of 500 characters",
        ),
    ],
)
def test_names_an_endpoint_as_well_as_it_can(tmp_path: Path, text: str, line: str) -> None:
    assert mistakes_in(tmp_path, f"[[endpoints]]\n{text}") == [line]


def test_reports_all_mistakes_of_all_files_at_once(tmp_path: Path) -> None:
    lines = mistakes_in(
        tmp_path,
        'include = ["a.toml", "none.toml"]\nx = 1\n[database]\ndsn = "x"\n[agent]\nworkers = 0\n'
        '[defaults]\ninterval = 1\n[[endpoints]]\nurl = "a"\n[[endpoints]]\nname = "b"\ntimeout = -1',
        a='[defaults]\nzzz = 1\nname = "d"\n[[endpoints]]\nname = "c"\nurl = "https://c.example/"\nmost = "x"',
    )
    assert [line.rsplit(": ", 1)[0] if "none" in line else ": ".join(line.split(": ")[:3]) for line in lines] == [
        "main.toml: x: unknown key; known are database, agent, accuracy, plugins, defaults, endpoints, include",
        "main.toml: include: none.toml",
        "main.toml: database.dsn: " + lines[2].split(": ")[2],
        "main.toml: agent.workers: " + lines[3].split(": ")[2],
        "main.toml: defaults: interval",
        'main.toml: endpoint "a": url',
        'main.toml: endpoint "b": timeout',
        'main.toml: endpoint "b": url',
        "a.toml: defaults: zzz",
        "a.toml: defaults: name",
        'a.toml: endpoint "c": most',
    ]


def test_a_mistake_in_defaults_is_reported_once(tmp_path: Path) -> None:
    tables = '[[endpoints]]\nurl = "https://a.example/"\n[[endpoints]]\nurl = "https://b.example/"'
    (line,) = mistakes_in(tmp_path, f'[defaults]\npattern = "("\n{tables}')
    assert line.startswith("main.toml: defaults: pattern: bad pattern")


def test_equal_names_are_reported_with_both_places(tmp_path: Path) -> None:
    (line,) = mistakes_in(
        tmp_path,
        'include = ["a.toml"]\n\n[[endpoints]]\nname = "x"\nurl = "https://a.example/"',
        a='[[endpoints]]\nurl = "https://b.example/"\n[[endpoints]]\nname = "x"\nurl = "https://c.example/"',
    )
    assert line == (
        'a.toml: endpoint "x": name: is used twice, by endpoint #1 of main.toml (line 3) and endpoint #2 of a.toml '
        "(line 3); give one of them another name"
    )
    table = '[[endpoints]]\nurl = "https://a.example/"\n'
    assert "is used twice" in mistakes_in(tmp_path, table * 2)[0]
    assert len(load(tmp_path, table + table + 'name = "other"').endpoints) == 2


def test_entries_must_be_tables(tmp_path: Path) -> None:
    assert mistakes_in(tmp_path, 'endpoints = ["https://a.example/"]') == [
        "main.toml: endpoint #1: expected a table; write [[endpoints]] above it"
    ]


def test_the_source_of_a_file_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE", "fra-1")
    path = tmp_path / "main.toml"
    path.write_text('[agent]\nsource = "${NODE}"\n[[endpoints]]\nurl = "https://a.example/"\n', encoding="utf-8")
    loaded = config.load(path, option_types())
    assert (loaded.settings.source, loaded.endpoints[0].source) == ("file:fra-1", "file:fra-1")
    path.write_text("", encoding="utf-8")
    assert config.load(path, option_types()).settings.source == f"file:{path}"


def row(**changed: Any) -> dict[str, Any]:
    """Give a row of the table `endpoints`."""
    given = {
        "id": 7, "name": "x", "url": "https://a.example/", "interval_s": 30.0, "timeout_s": 10.0, "enabled": True,
        "labels": {"a": "${b}"}, "locations": ["eu"], "options": {"trust": {}}, "source": "sql",
    }  # fmt: skip
    return given | changed


def test_a_row_becomes_an_endpoint() -> None:
    found = config.endpoint(row(), option_types())
    assert (found.id, found.name, found.url, found.source) == (7, "x", "https://a.example/", "sql")
    assert (found.interval_s, found.timeout_s, found.enabled, found.locations) == (30.0, 10.0, True, ("eu",))
    assert found.labels == {"a": "${b}"}  # only URL and options are still as written
    assert found.options == {"trust": Trust()}


def test_the_timeout_of_a_row_is_lowered_to_its_interval() -> None:
    assert config.endpoint(row(interval_s=5.0), option_types()).timeout_s == 5.0  # 10 is the table's default
    assert config.endpoint(row(interval_s=5.0, timeout_s=4.0), option_types()).timeout_s == 4.0


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"url": "a.example"}, "url: has no scheme"),
        ({"interval_s": 2}, "interval: must be from 5 to 300"),
        ({"timeout_s": 0}, "timeout: must be more than 0 seconds"),
        ({"options": '{"a":'}, "options: is no JSON object"),
        ({"labels": [1]}, "labels: expected a table of strings, got a list"),
        ({"options": {"zzz": 1}}, 'zzz: unknown option "zzz"'),
        ({"options": {"token": "${NONE}"}}, "token: environment variable NONE is not set"),
    ],
)
def test_a_bad_row_names_its_source(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        config.endpoint(row(**changed), option_types())
    (line,) = raised.value.problems
    assert line.startswith(f'sql: endpoint "x": {said}')


def test_tables_from_elsewhere_become_specs() -> None:
    tables = [{"url": "https://a.example/", "interval": "10s", "login": {"user": "u", "password": "p"}}]
    spec = config.specs(tables, option_types(), "plugin:consul")[0]
    assert (spec.source, spec.interval_s) == ("plugin:consul", 10.0)
    assert config.endpoint(spec, option_types()).options == {"login": Login("u", "p")}
    with pytest.raises(ConfigError) as raised:
        config.specs([*tables, {"url": "x", "token": object()}, 3], option_types(), "plugin:consul")  # type: ignore
    assert [line.split(": ")[:2] for line in raised.value.problems] == [
        ["plugin:consul", 'endpoint "x"'],
        ["plugin:consul", 'endpoint "x"'],
        ["plugin:consul", "endpoint #3"],
    ]


def test_what_a_spec_stores_is_json(tmp_path: Path) -> None:
    spec = one(tmp_path, 'codes = [2024-02-29, 1, "a"]')
    assert json.loads(json.dumps(spec.options)) == {"codes": ["2024-02-29", 1, "a"]}


def test_disabled_plugins_can_be_asked_before_loading(tmp_path: Path) -> None:
    path = tmp_path / "main.toml"
    for text, names in {'["a", "b"]': ("a", "b"), '"a"': (), "[1]": ()}.items():
        path.write_text(f"[agent]\ndisabled_plugins = {text}")
        assert config.disabled_plugins(config.read(path)) == names
    assert not config.disabled_plugins(config.read(tmp_path / "none.toml"))


def test_the_environment_chooses_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, names in {"": None, " , ": None, "http": {"http"}, "http, regex": {"http", "regex"}}.items():
        monkeypatch.setenv("WATCHER_PLUGINS", text)
        assert config.chosen_plugins() == names


def test_there_are_settings_without_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHER_DATA_DIR", "/srv/w")
    monkeypatch.setenv("WATCHER_DATABASE_DSN", "host=db")
    found = config.default_settings()
    assert (found.agent.data_dir, found.database.dsn, found.path) == (Path("/srv/w"), "host=db", None)
    monkeypatch.setenv("WATCHER_DATABASE_DSN", "db")
    with pytest.raises(ConfigError, match="WATCHER_DATABASE_DSN"):
        config.default_settings()


def test_options_are_shown_without_secrets() -> None:
    plain = {"login": (Login, "imagined")}
    assert config.masked({"login": {"user": "me", "password": "hunter2"}}, plain) == {
        "login": {"user": "me", "password": "***"}
    }


def test_a_priority_has_bounds_and_none_is_0(tmp_path: Path) -> None:
    assert one(tmp_path, "").priority == 0
    row = {"name": "a", "url": "https://a.example/"}
    assert config.endpoint(row, option_types()).priority == 0
    for wrong in ("101", "-101"):
        (line,) = mistakes_in(tmp_path, f'[[endpoints]]\nurl = "https://a.example/"\npriority = {wrong}')
        assert line.endswith(f"priority: must be from -100 to 100, got {wrong}")


def test_the_accuracy_is_read_with_the_rest(tmp_path: Path) -> None:
    loaded = load(tmp_path, '[accuracy]\nmax_lag = "50ms"\nwitnesses = ["gateway", "tcp://192.0.2.1:443"]')
    accuracy = loaded.settings.accuracy
    assert (accuracy.max_lag_s, accuracy.max_late_s) == (0.05, 0.5)
    assert accuracy.witnesses == ("gateway", "tcp://192.0.2.1:443")
    assert load(tmp_path, "").settings.accuracy == config.Accuracy()
    (line,) = mistakes_in(tmp_path, '[accuracy]\nmax_lagg = 1')
    assert 'accuracy.max_lagg: unknown key; did you mean "max_lag"?' in line
