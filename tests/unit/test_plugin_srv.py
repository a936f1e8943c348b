"""The plugin `srv`, against a real name server."""

from __future__ import annotations

from pathlib import Path

import pytest
from discovering import discoveries, specs, trouble, urls
from name_server import name_server

from watcher import Discovery
from watcher.errors import ConfigError
from watcher.plugins.discovery import srv

ZONE = "--local=/example.test/"
TWO = (
    "--srv-host=_https._tcp.example.test,B.example.test,8443,10,5",
    "--srv-host=_https._tcp.example.test,a.example.test,443,0,1",
)


def made(path: Path, port: int, text: str = 'records = ["_https._tcp.example.test"]') -> Discovery:
    """Give the discovery of a table `[[plugins.srv]]` that asks a server on this port."""
    head = f'[[plugins.srv]]\nresolver = "127.0.0.1:{port}"\n'
    (found,) = discoveries(srv, path / "watcher.toml", head + text)
    return found


def test_an_endpoint_for_each_host_and_port(tmp_path: Path) -> None:
    with name_server(ZONE, *TWO) as port:
        text = 'records = ["_https._tcp.example.test"]\nendpoint = { interval = 30, labels = { team = "web" } }'
        known = specs(list(made(tmp_path, port, text).find()))
    assert {name: spec.url for name, spec in known.items()} == {
        "_https._tcp.example.test a.example.test:443": "https://a.example.test:443/",
        "_https._tcp.example.test b.example.test:8443": "https://b.example.test:8443/",
    }
    assert {(spec.interval_s, *spec.labels.items()) for spec in known.values()} == {(30.0, ("team", "web"))}


def test_it_is_asked_at_its_own_interval(tmp_path: Path) -> None:
    assert made(tmp_path, 53).every_s == 30


def test_templates(tmp_path: Path) -> None:
    with name_server(ZONE, "--srv-host=_imap._tcp.example.test,mail.example.test,143") as port:
        text = 'records = ["_imap._tcp.example.test"]\nurl = "tcp://{host}:{port}"\nname = "{record}: {url}"'
        (table,) = made(tmp_path, port, text).find()
    assert table == {
        "url": "tcp://mail.example.test:143",
        "name": "_imap._tcp.example.test: tcp://mail.example.test:143",
    }


@pytest.mark.parametrize(
    "options",
    [
        (),  # NXDOMAIN
        ("--txt-record=_https._tcp.example.test,here",),  # no such record of a name that is there
        ("--srv-host=_https._tcp.example.test",),  # RFC 2782: the target "." says that there is no such service
    ],
)
def test_no_such_record_is_the_truth(tmp_path: Path, options: tuple[str, ...]) -> None:
    with name_server(ZONE, *options) as port:
        assert not list(made(tmp_path, port).find())


def test_an_answer_holds_as_long_as_its_time_to_live(tmp_path: Path) -> None:
    with name_server(ZONE, *TWO, "--local-ttl=3600") as port:
        text = 'records = ["_https._tcp.example.test"]\ntimeout = "500ms"'
        kept, fresh = made(tmp_path, port, text), made(tmp_path, port, text)
        first = list(kept.find())
        assert len(urls(first)) == 2
    assert list(kept.find()) == first, "nobody was asked: there is nobody"
    assert not urls(list(fresh.find()))


def test_after_its_time_to_live_it_is_asked_for_anew(tmp_path: Path) -> None:
    with name_server(ZONE, *TWO, "--local-ttl=0") as port:
        find = made(tmp_path, port).find
        assert len(urls(list(find()))) == 2
    with name_server(ZONE, TWO[0], "--local-ttl=0", port=port):
        assert urls(list(find())) == ["https://b.example.test:8443/"]


def test_an_answer_that_does_not_come_is_a_failure_and_the_others_count(tmp_path: Path) -> None:
    with name_server(ZONE, *TWO) as port:  # which refuses what is not its own
        text = 'records = ["_https._tcp.elsewhere.test", "_https._tcp.example.test"]\ntimeout = "2s"'
        found = list(made(tmp_path, port, text).find())
    assert len(urls(found)) == 2
    (told,) = trouble(found)
    assert told.startswith("_https._tcp.elsewhere.test: ") and "REFUSED" in told


def test_many_targets_come_by_tcp(tmp_path: Path) -> None:
    many = [f"--srv-host=_https._tcp.example.test,host-{number}.example.test,443" for number in range(200)]
    with name_server(ZONE, *many) as port:
        assert len(urls(list(made(tmp_path, port).find()))) == 200


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("records = []", "records is empty"),
        ('records = ["a b"]', "'a b' is no name of a record"),
        ('records = ["_http._tcp.a..b"]', "'_http._tcp.a..b' is no name of a record"),
        (f'records = ["_http._tcp.{"a" * 64}.b"]', "is no name of a record"),
        ('records = ["_imap._tcp.h"]', '_imap._tcp.h does not tell the scheme; add url = "tcp://{host}:{port}"'),
        ('records = ["_http._tcp.h"]\nresolver = "dns.example"', "'dns.example' is no address of a name server"),
        ('records = ["_http._tcp.h"]\nresolver = "[::1]:0"', "'[::1]:0' is no address of a name server"),
        ('records = ["_http._tcp.h"]\ninterval = 0.5', "interval must be 1 s or more"),
        ('records = ["_http._tcp.h"]\nurl = "http://{target}/"', "there are {record}, {host}, {port}"),
    ],
)
def test_wrong_settings_are_told_when_the_file_is_read(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        discoveries(srv, tmp_path / "watcher.toml", f"[[plugins.srv]]\n{text}\n")
    assert words in str(caught.value)


def test_without_a_table_it_has_no_say(tmp_path: Path) -> None:
    assert discoveries(srv, tmp_path / "watcher.toml", "") is None
