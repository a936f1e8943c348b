"""Configuration: TOML into settings and endpoints; every mistake at once, with file, endpoint and key."""

from watcher.config.configuration import (
    Config,
    EndpointSpec,
    Settings,
    chosen_plugins,
    default_settings,
    disabled_plugins,
    endpoint,
    judged,
    load,
    masked,
    named_files,
    plugin_settings,
    read,
    readable,
    sealed,
    specs,
)
from watcher.config.parts import SettingsTypes
from watcher.config.settings import Accuracy, Agent, Database

__all__ = [
    "Accuracy",
    "Agent",
    "Config",
    "Database",
    "EndpointSpec",
    "Settings",
    "SettingsTypes",
    "chosen_plugins",
    "default_settings",
    "disabled_plugins",
    "endpoint",
    "judged",
    "load",
    "masked",
    "named_files",
    "plugin_settings",
    "read",
    "readable",
    "sealed",
    "specs",
]
