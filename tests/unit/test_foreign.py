"""Words of other monitors lead to ours."""

from __future__ import annotations

import pytest

from watcher import registry
from watcher.config import foreign
from watcher.config.options import CORE_KEYS


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
        ("intervall", ""),
    ],
)
def test_a_word_of_another_monitor_is_translated(word: str, said: str) -> None:
    assert said in foreign.hint(word)
    assert bool(said) == bool(foreign.hint(word))


def test_what_is_named_there_is_an_option_here_and_no_option_is_translated_away() -> None:
    ours = {*registry.option_types(registry.plugin_manager()), *CORE_KEYS}
    assert set(foreign.MEANT) <= ours
    assert not [word for word in ours if foreign.hint(word)]
