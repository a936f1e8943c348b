"""The plugin `file_sd`, on real files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from discovering import Found, discoveries, specs, trouble, urls

from watcher import Discovery, config
from watcher.config.options import OptionTypes
from watcher.errors import ConfigError
from watcher.plugins.discovery import file_sd

# the example of Prometheus' own documentation of file_sd, with its labels
EXAMPLE = [
    {"targets": ["localhost:9090", "localhost:9191"], "labels": {"env": "prod", "job": "node"}},
    {"targets": ["[2001:db8::1]:9100"], "labels": {"__scheme__": "https", "__metrics_path__": "/health"}},
]


def made(path: Path, text: str = "") -> Discovery:
    """Give the discovery of a table `[[plugins.file_sd]]`, with `targets/*.json` when nothing else is said."""
    (path / "targets").mkdir(exist_ok=True)
    files = "" if "files" in text else 'files = ["targets/*.json"]'
    (found,) = discoveries(file_sd, path / "watcher.toml", f"[[plugins.file_sd]]\n{files}\n{text}\n")
    return found


def written(path: Path, groups: Any, name: str = "a") -> Path:
    """Write a file of targets."""
    (path / "targets").mkdir(exist_ok=True)
    file = path / f"targets/{name}.json"
    file.write_text(groups if isinstance(groups, str) else json.dumps(groups), encoding="utf-8")
    return file


def found(path: Path, text: str = "") -> Found:
    """Give what is found now."""
    return list(made(path, text).find())


def test_the_example_of_prometheus_becomes_endpoints(tmp_path: Path) -> None:
    written(tmp_path, EXAMPLE)
    known = specs(found(tmp_path, 'endpoint = { interval = 30, status = "2xx" }'))
    assert {(spec.url, spec.interval_s) for spec in known.values()} == {
        ("http://localhost:9090/", 30.0),
        ("http://localhost:9191/", 30.0),
        ("https://[2001:db8::1]:9100/health", 30.0),
    }
    first = known["file_sd http://localhost:9090/"]
    assert first.labels == {"env": "prod", "job": "node"} and first.options == {"status": "2xx"}
    assert known["file_sd https://[2001:db8::1]:9100/health"].labels == {}, "labels with __ are for the discovery alone"


def test_it_is_asked_at_its_own_interval(tmp_path: Path) -> None:
    assert made(tmp_path).every_s == 30
    assert made(tmp_path, 'interval = "5m"').every_s == 300


@pytest.mark.parametrize(
    ("target", "labels", "url"),
    [
        ("h:1", {"__param_module": "http 2xx", "__param_x": "ä"}, "http://h:1/?module=http+2xx&x=%C3%A4"),
        ("h", {"__metrics_path__": "metrics"}, "http://h/metrics"),
        ("https://h/page?a=1", {"__param_module": "http_2xx", "__metrics_path__": "/probe"}, "https://h/page?a=1"),
        ("tcp://h:25", {}, "tcp://h:25"),
    ],
)
def test_url_of_a_target(tmp_path: Path, target: str, labels: dict[str, str], url: str) -> None:
    written(tmp_path, [{"targets": [target], "labels": labels}])
    assert urls(found(tmp_path)) == [url]


@pytest.mark.parametrize(
    ("template", "target", "url"),
    [
        ("https://{target}/health", "h:1", "https://h:1/health"),
        ("tcp://{host}:{port}", "h:1", "tcp://h:1"),
        ("{scheme}://{host}/{env}{path}{query}", "https://H:8/p?a=1", "https://h/prod/p?a=1"),
        ("https://{host}/", "[::1]:80", "https://[::1]/"),
        ("https://{host}/?key=${KEY}", "h", "https://h/?key=${KEY}"),
    ],
)
def test_templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template: str, target: str, url: str) -> None:
    monkeypatch.setenv("KEY", "confidential")
    written(tmp_path, [{"targets": [target], "labels": {"env": "prod"}}])
    assert urls(found(tmp_path, f'url = "{template}"')) == [url], "references stay, as PostgreSQL stores them"


def test_the_value_of_a_reference_is_in_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "confidential")
    written(tmp_path, [{"targets": ["h:1"]}])
    (spec,) = specs(found(tmp_path, 'url = "https://{target}/?key=${KEY}"')).values()
    assert spec.name == "file_sd https://h:1/?key=${KEY}"
    assert config.endpoint(spec, OptionTypes()).url == "https://h:1/?key=confidential"


@pytest.mark.parametrize(
    "group",
    [
        {"targets": ["https://h/?x=${SECRET}"], "labels": {}},
        {"targets": ["https://h/?x=$$${SECRET}"], "labels": {}},
        {"targets": ["h"], "labels": {"__metrics_path__": "/${SECRET}", "a": "${SECRET}"}},
    ],
)
def test_who_writes_targets_cannot_read_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: dict[str, Any]
) -> None:
    monkeypatch.setenv("SECRET", "confidential")
    written(tmp_path, [group])
    (spec,) = specs(found(tmp_path)).values()
    endpoint = config.endpoint(spec, OptionTypes())
    assert "confidential" not in repr(spec) + repr(endpoint)
    assert "${SECRET}" in endpoint.url


def test_a_reference_cannot_be_put_together_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "confidential")
    written(tmp_path, [{"targets": ["h"], "labels": {"a": "$", "b": "{SECRET}"}}])
    assert trouble(found(tmp_path, 'url = "https://{host}/{a}{b}"'))[0].endswith("a reference would come of it")


def test_labels_of_the_template_hold_where_the_target_has_none(tmp_path: Path) -> None:
    written(tmp_path, [{"targets": ["h"], "labels": {"env": "prod"}}])
    (table,) = found(tmp_path, 'endpoint = { labels = { env = "test", team = "web" } }')
    assert table["labels"] == {"env": "prod", "team": "web"}


def test_names_are_those_of_the_template(tmp_path: Path) -> None:
    written(tmp_path, [{"targets": ["h:1", "h:2"], "labels": {"job": "node"}}])
    assert [table["name"] for table in found(tmp_path, 'name = "{job} {target}"')] == ["node h:1", "node h:2"]


def test_a_long_name_is_shortened_and_stays_its_own(tmp_path: Path) -> None:
    long = "https://h/" + "x" * 600
    written(tmp_path, [{"targets": [long + "1", long + "2"]}])
    names = list(specs(found(tmp_path)))
    assert len(names) == 2 and all(len(name) <= 500 for name in names)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        (json.dumps(EXAMPLE)[:-1], "is no JSON, or not written to its end"),
        ('{"targets": ["h"]}', "is not as file_sd files are: Expected `array`, got `object`"),
        ('[{"targets": [1]}]', "Expected `str`, got `int` - at `$[0].targets[0]`"),
        ('[{"target": ["h"]}]', "unknown field `target`"),
        ('[{"targets": ["a b"]}]', "target 'a b' is neither host:port nor a URL"),
        ('[{"targets": ["h:99999"]}]', "target 'h:99999' cannot be read: Port out of range 0-65535"),
    ],
)
def test_what_cannot_be_read_is_a_failure_and_the_other_files_count(tmp_path: Path, content: str, words: str) -> None:
    broken = written(tmp_path, content, "broken")
    written(tmp_path, [{"targets": ["h:1"]}], "right")
    now = found(tmp_path)
    assert urls(now) == ["http://h:1/"]
    (told,) = trouble(now)
    assert told.startswith(str(broken)) and words in told


def test_no_beginning_of_a_file_is_taken_for_the_whole(tmp_path: Path) -> None:
    whole, find = json.dumps(EXAMPLE), made(tmp_path).find
    for length in range(len(whole)):
        written(tmp_path, whole[:length])
        now = list(find())
        assert trouble(now) and not urls(now), whole[:length]
    written(tmp_path, whole)
    assert len(urls(list(find()))) == 3


def test_a_target_without_what_the_template_asks_for_is_a_failure(tmp_path: Path) -> None:
    file = written(tmp_path, [{"targets": ["h", "g:1"]}])
    now = found(tmp_path, 'url = "tcp://{host}:{port}"')
    assert urls(now) == ["tcp://g:1"]
    assert trouble(now) == [f"""{file}: target 'h' has no "port", which "tcp://{{host}}:{{port}}" asks for"""]


def test_files_come_and_go_with_the_pattern(tmp_path: Path) -> None:
    find = made(tmp_path).find
    assert not list(find())
    one = written(tmp_path, [{"targets": ["h:1"]}], "one")
    written(tmp_path, [{"targets": ["h:2"]}], "two")
    written(tmp_path, "half of", ".hidden")
    assert urls(list(find())) == ["http://h:1/", "http://h:2/"]
    one.unlink()
    assert urls(list(find())) == ["http://h:2/"] and not trouble(list(find()))


def test_a_file_or_directory_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    file = made(tmp_path, 'files = ["targets/one.json"]').find
    assert trouble(list(file())) == [f"{tmp_path}/targets/one.json: cannot be read: No such file or directory"]
    pattern = made(tmp_path).find
    os.rmdir(tmp_path / "targets")
    assert trouble(list(pattern())) == [f"{tmp_path}/targets: No such file or directory"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("files = []", "files is empty"),
        ('files = ["a.yml"]', "a.yml does not end in .json, the one format that is read"),
        ('files = ["*/a.json"]', "only the last part may be one"),
        ("interval = 0.5", "interval 0.5 s is too short; 1 s is the least"),
        ('endpoint = { url = "https://h/" }', "url does not belong into endpoint"),
        ('intervall = "30s"', 'unknown key; did you mean "interval"?'),
    ],
)
def test_wrong_settings_are_told_when_the_file_is_read(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        made(tmp_path, text)
    assert words in str(caught.value) and "plugins.file_sd[0]" in str(caught.value)


def test_without_a_table_it_has_no_say(tmp_path: Path) -> None:
    assert discoveries(file_sd, tmp_path / "watcher.toml", "") is None
