"""`watcher db seal`: encrypts the secrets in the endpoints table, with a new key too."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from watcher.commands.configured import configured, read, say, without_plugins
from watcher.config.sealing import FILE, REMEDY, keyring
from watcher.config.spec import label
from watcher.errors import UsageError
from watcher.screen import figures


@click.command(name="seal")
@configured
@without_plugins
def command(path: Path | None) -> int:
    """Encrypt the secrets in the endpoints table: those that stand there readable, and those of an older key.

    To change the key: put the new one before the old one in WATCHER_SECRET_KEY or the file of [database]
    secret_key_file, restart all agents, run this, take the old one away and restart again. Exit 1 when some
    cannot be decrypted.
    """
    from watcher import registry
    from watcher.store import database, endpoints
    from watcher.store.connection import connect

    settings, disabled_plugins = read(path)
    keys = keyring(settings.database, settings.agent.data_dir)
    if not keys:
        raise UsageError(f"there is no key to encrypt with; {REMEDY} (openssl rand -base64 32 makes one)")
    types = registry.option_types(registry.plugin_manager(disabled_plugins))
    types.keyring = keys
    wrong: list[str] = []

    def sealed(name: str, options: Mapping[str, Any]) -> Mapping[str, Any]:
        place = label({"name": name})
        keys.opened(dict(options), lambda key, text: wrong.append(f"{place}: {key}: {text}"))
        return types.sealed(options)

    with database(settings, say) as dsn, closing(connect(dsn, name="watcher db seal")) as connection:
        count = endpoints.change_options(connection, sealed)
    for line in wrong:
        say(line)
    where = "the key that is given" if settings.database.secret_key else settings.agent.data_dir / FILE
    click.echo(f"{figures.counted(count, 'endpoint')} changed, secrets are encrypted with {where}")
    return 1 if wrong else 0
