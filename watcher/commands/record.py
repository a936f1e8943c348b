"""A result as a JSON object, for machines; the names are those of the columns of `metrics`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from watcher.config import references
from watcher.models import Result

MEASURES = (
    "http_status", "latency_us", "dns_us", "connect_us", "tls_us", "ttfb_us", "transfer_us", "body_bytes",
    "regex_found", "lag_us", "address", "detail",
)  # fmt: skip


def record(result: Result, url: str) -> dict[str, Any]:
    """Give what JSON can hold of a result, with the URL as it may be shown; options are left out: they hold secrets."""
    endpoint = result.endpoint
    return {
        "endpoint": references.masked(endpoint.name),
        "url": url,
        "labels": endpoint.labels,
        "time": datetime.fromtimestamp(result.time_us / 1e6, UTC).isoformat(timespec="microseconds"),
        "status": result.status.value,
        "reason": result.reason.value if result.reason else None,
        **{name: getattr(result, name) for name in MEASURES},
    }
