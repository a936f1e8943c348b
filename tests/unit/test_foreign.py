"""Words of other monitors lead to ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from watcher import Endpoint, registry
from watcher.config import foreign, load
from watcher.config.options import CORE_KEYS, OptionTypes
from watcher.errors import ConfigError
from watcher.plan import Unusable, compile_plan


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("group", '"labels"'),  # Gatus
        ("conditions", "an option each"),
        ("insecure", '"tls"'),
        ("keyword", '"contains"'),  # Uptime Kuma
        ("accepted_statuscodes", '"status"'),
        ("ignoreTls", '"tls"'),
        ("valid_status_codes", '"status"'),  # blackbox_exporter
        ("preferred_ip_protocol", '"ip_version"'),
        ("content_match", '"contains"'),  # Datadog
        ("frequency", '"interval"'),
        ("retries", "made once"),
        ("options", "keys of the endpoint itself"),
        ("intervall", ""),
    ],
)
def test_a_word_of_another_monitor_is_translated(word: str, said: str) -> None:
    assert said in foreign.hint(word)
    assert bool(said) == bool(foreign.hint(word))


@pytest.mark.parametrize(
    ("section", "word", "said"),
    [
        ("database", "url", '"dsn"'),
        ("database", "retention", '"keep_days"'),
        ("agent", "region", '"location"'),
        ("", "monitors", "[[endpoints]]"),  # Uptime Kuma
        ("", "storage", '"database"'),  # Gatus
        ("", "alerting", "watcher_incident"),
        ("database", "alerting", ""),
        ("agent", "url", ""),
    ],
)
def test_so_is_a_key_of_a_section(section: str, word: str, said: str) -> None:
    assert said in foreign.section_hint(section, word)
    assert bool(said) == bool(foreign.section_hint(section, word))


@pytest.mark.parametrize(
    ("scheme", "said"),
    [("ping", "icmp://"), ("PING", "icmp://"), ("ssl", "tls://"), ("starttls", "mail = { starttls"), ("gopher", "")],
)
def test_so_is_a_scheme(scheme: str, said: str) -> None:
    assert said in foreign.scheme_hint(scheme)
    assert bool(said) == bool(foreign.scheme_hint(scheme))


def test_a_wrong_key_of_a_file_leads_to_ours(tmp_path: Path) -> None:
    path = tmp_path / "w.toml"
    path.write_text('[database]\nurl = "postgresql:///x"\n[[monitors]]\nurl = "https://example.com/"\n')
    with pytest.raises(ConfigError) as caught:
        load(path, OptionTypes())
    assert list(caught.value.problems) == [
        f"{path}: monitors: unknown key; here each is a table under [[endpoints]]",
        f'{path}: database.url: unknown key; here it is "dsn"',
    ]


def test_schemes_lead_to_some_that_are_probed() -> None:
    plugins = registry.plugin_manager()
    for scheme in ("icmp", "tls", "ws", "wss", "https"):
        assert not isinstance(compile_plan(Endpoint(name="x", url=f"{scheme}://127.0.0.1"), plugins).prober, Unusable)
    plan = compile_plan(Endpoint(name="x", url="ping://127.0.0.1"), plugins)
    assert plan.prober.why == "no plugin probes ping: URLs; here it is icmp://"


def test_what_is_named_there_is_an_option_here_and_no_option_is_translated_away() -> None:
    ours = {*registry.option_types(registry.plugin_manager()), *CORE_KEYS}
    assert set(foreign.MEANT) <= ours
    assert not [word for word in ours if foreign.hint(word)]
