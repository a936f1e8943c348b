"""What the integration tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from owners import Owner

from watcher.models import Endpoint, Result
from watcher.plan import compile_plan
from watcher.probe import probe
from watcher.registry import plugin_manager
from watcher.transport import Anchor


@pytest.fixture(name="own")
def fixture_own(tmp_path: Path) -> Iterator[Callable[..., Owner]]:
    """Start owners, and end those that a test leaves."""
    owners: list[Owner] = []

    def start(data_dir: Path, *options: str, **popen: Any) -> Owner:
        owners.append(Owner(tmp_path / f"owner-{len(owners)}", data_dir, *options, **popen))
        return owners[-1]

    yield start
    for owner in owners:
        if owner.process.poll() is None:
            owner.process.kill()
        owner.process.stdin.close()
        owner.process.wait()


@pytest.fixture(scope="session")
def anchor() -> Iterator[None]:
    """Keep the kernel's stamps switched on."""
    held = Anchor()
    yield
    held.close()


@pytest.fixture(scope="session")
def plugins():
    """Give the built-in plugins."""
    return plugin_manager()


@pytest.fixture
def check(anchor, plugins) -> Callable[..., Result]:
    """Probe a URL once with options."""
    del anchor  # held for the session

    def run(url: str, timeout_s: float = 5.0, **options: object) -> Result:
        plan = compile_plan(Endpoint(name=url, url=url, timeout_s=timeout_s, options=options), plugins)
        try:
            return probe(plan)
        finally:
            plan.close()

    return run


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Give a certificate authority."""
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give its certificate as a file."""
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)
