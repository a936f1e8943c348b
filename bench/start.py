"""What a user waits for: help, the first line, the first row, an import of many endpoints.

Each time is the wall clock's, the median of the rounds; the import gives each endpoint a pattern of its own.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from watcher.errors import DatabaseError
from watcher.store import connection as store_connection
from watcher.store import embedded

WATCHER = (sys.executable, "-m", "watcher")
CONFIGURATION = """
[agent]
data_dir = "{data_dir}"

[[endpoints]]
url = "http://127.0.0.1:9/"
interval = 5
timeout = 1
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=100_000, help="endpoints to import")
    options = parser.parse_args()
    report("watcher --help", [seconds(lambda: run("--help")) for _ in range(options.rounds)])
    firsts = [first_start() for _ in range(options.rounds)]
    for number, what in enumerate(("first line of output", "first row, first start", "first row, later start")):
        report(what, [times[number] for times in firsts])
    for what, took_s in bulk(options.rows):
        report(f"{what} of {options.rows:,} endpoints", [took_s])


def report(what: str, times_s: list[float]) -> None:
    """Print a line."""
    print(f"{what:44}{statistics.median(times_s):8.2f} s", flush=True)


def seconds(work: Callable[[], object]) -> float:
    """Give how long a piece of work takes."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def run(*arguments: str) -> None:
    """Run a command to its end."""
    subprocess.run([*WATCHER, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


@contextmanager
def directory() -> Iterator[str]:
    """Make a directory that PostgreSQL's account can pass through."""
    with tempfile.TemporaryDirectory(prefix="watcher-bench-") as name:
        Path(name).chmod(0o755)
        yield name


def configuration(place: str) -> Path:
    """Write the configuration into a directory."""
    path = Path(place) / "endpoints.toml"
    path.write_text(CONFIGURATION.format(data_dir=Path(place) / "data"), encoding="utf-8")
    return path


def first_start() -> tuple[float, float, float]:
    """Give the seconds to the first line, to the first row of a new database, to the next row of a later start."""
    with directory() as place:
        path = configuration(place)
        line_s, row_s = start(path)
        return line_s, row_s, start(path)[1]


def start(path: Path) -> tuple[float, float]:
    """Start an agent; give the seconds to its first line and to its first row."""
    began = time.monotonic()
    since = time.time()
    with subprocess.Popen(
        [*WATCHER, "--config", str(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as agent:
        agent.stdout.readline()
        line_s = time.monotonic() - began
        with embedded.serve(path.parent / "data", lambda text: None) as server:
            while not rows(server.dsn, since):
                time.sleep(0.02)
            row_s = time.monotonic() - began
        agent.terminate()
        agent.stdout.read()
    return line_s, row_s


def rows(dsn: str, since: float) -> int:
    """Count the rows since a moment; none while there is no table yet."""
    try:
        with closing(store_connection.connect(dsn, name="bench")) as connection:
            with store_connection.transaction(connection) as cursor:
                cursor.execute("SELECT count(*) FROM metrics WHERE time >= to_timestamp(%s)", (since,))
                return cursor.fetchone()[0]
    except DatabaseError:
        return 0


def bulk(count: int) -> list[tuple[str, float]]:
    """Import a CSV file and export it again."""
    with directory() as place:
        path, sites = configuration(place), Path(place) / "sites.csv"
        with open(sites, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("name", "url", "interval", "regex"))
            writer.writerows((f"site {n}", f"http://127.0.0.1:9/{n}", 60, f"word{n}|page{n}") for n in range(count))
        run("db", "migrate", "--config", str(path))
        config = ("--config", str(path))
        import_s = seconds(lambda: run("endpoints", "import", *config, str(sites)))
        export_s = seconds(lambda: run("endpoints", "export", *config, str(Path(place) / "again.csv")))
        return [("import", import_s), ("export", export_s)]


if __name__ == "__main__":
    main()
