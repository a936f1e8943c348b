"""Configuration: TOML into settings and endpoints; every mistake at once, with file, endpoint and key."""

from watcher.config.configuration import (
    Config,
    EndpointSpec,
    Settings,
    chosen_plugins,
    default_settings,
    disabled_plugins,
    endpoint,
    load,
    masked,
    read,
    specs,
)
from watcher.config.settings import Agent, Database

__all__ = [
    "Agent",
    "Config",
    "Database",
    "EndpointSpec",
    "Settings",
    "chosen_plugins",
    "default_settings",
    "disabled_plugins",
    "endpoint",
    "load",
    "masked",
    "read",
    "specs",
]
