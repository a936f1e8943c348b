"""Which package offered which option and which settings, remembered for the time after it was uninstalled."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from pathlib import Path

import msgspec

from watcher import jsonfile
from watcher.config.shapes import FILE_SUFFIX

FILE = "offered.json"  # in the data directory of an agent
KEPT_MOST = 2000
OWN = "watcher"  # of this name PyPI has another program


class Offer(msgspec.Struct, frozen=True):
    """Who offered a key."""

    plugin: str
    distribution: str
    version: str


class Offers(msgspec.Struct, frozen=True):
    """What the agents of one data directory were offered until now, by key; `settings` by the name of the plugin."""

    options: dict[str, Offer] = {}
    settings: dict[str, Offer] = {}

    def option(self, key: str, absent: Collection[str]) -> str | None:
        """Say why there is no such option now; None when there never was one.

        Args:
            key: as it stands in a table.
            absent: names of plugins that are installed and were not loaded.
        """
        offer = self.options.get(key) or self.options.get(key.removesuffix(FILE_SUFFIX))
        if offer is None:
            return None
        if offer.plugin in absent:
            loadable = f'the plugin "{offer.plugin}", which offers it, is installed but was not chosen to be loaded'
            return f'unknown option "{key}"; {loadable}'
        return f'option "{key}" {_gone(offer)}, or remove it'

    def setting(self, name: str) -> str | None:
        """Say why no plugin has these settings now; None when none ever had."""
        offer = self.settings.get(name)
        return f"{_gone(offer)}, or take this part out" if offer else None


def read(data_dir: Path) -> Offers:
    """Give what was remembered; nothing where nothing can be read."""
    try:
        return jsonfile.read(data_dir / FILE, Offers) or Offers()
    except OSError:
        return Offers()


def remember(data_dir: Path, now: Offers) -> None:
    """Add what is offered now to what was remembered.

    Raises:
        OSError: what the system says.
    """
    former = read(data_dir)
    both = Offers(_newest(former.options, now.options), _newest(former.settings, now.settings))
    if both != former:
        jsonfile.write(data_dir / FILE, both)


def _newest(former: dict[str, Offer], now: dict[str, Offer]) -> dict[str, Offer]:
    kept = {key: offer for key, offer in former.items() if key not in now} | now
    return dict(islice(kept.items(), max(0, len(kept) - KEPT_MOST), None))


def _gone(offer: Offer) -> str:
    from importlib import metadata  # slow to import, and seldom needed

    was = f"was offered by {offer.distribution} {offer.version}"
    try:
        there = metadata.version(offer.distribution)
    except metadata.PackageNotFoundError:
        return f"{was}, which is no longer installed: pip install {offer.distribution}"
    remedy = f"pip install {offer.distribution}=={offer.version}"
    if offer.distribution == OWN:
        remedy = f"install {OWN} {offer.version} from its checkout"
    return f"{was}; {offer.distribution} {there}, which is installed, does not offer it: {remedy}"
