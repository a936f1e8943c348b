"""What plugins find, brought into a real table as a difference."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pluggy
import psycopg2
import pytest

from watcher import Discovery, Failure, Options, config, hookimpl, hookspecs
from watcher.agent.discovery import AGAIN_S, THREADS_MOST, Discoveries
from watcher.config.options import OptionTypes

AWAY = "host=127.0.0.1 port=1 dbname=none"
EVERY_S = 30.0


def table(name: str, **keys: Any) -> dict[str, Any]:
    """Give the table of an endpoint."""
    return {"name": name, "url": f"https://{name}.test/", **keys}


class Catalogue:
    """A plugin whose answers a test sets: `finds` are looked up, `plain` is given at once."""

    def __init__(self) -> None:
        self.plain: Any = ()
        self.finds: list[Callable[[], Any]] = []
        self.configured = True

    @hookimpl
    def watcher_endpoints(self) -> Any:
        """Answer."""
        if not self.configured:
            return None
        if isinstance(self.plain, BaseException):
            raise self.plain
        return [*self.plain, *(Discovery(find, EVERY_S) for find in self.finds)]


class Place:
    """An agent's part: the discoveries of one or more plugins, on a clock of the test's own."""

    def __init__(self, dsn: str, path: Path, *catalogues: Catalogue) -> None:
        self.dsn = dsn
        self.now = 1000.0
        self.said: list[str] = []
        self._path = path
        plugins = pluggy.PluginManager("watcher")
        plugins.add_hookspecs(hookspecs)
        for number, catalogue in enumerate(catalogues):
            plugins.register(catalogue, name=f"catalogue{number or ''}")
        types = OptionTypes({"status": (int, "test"), "page": (Path, "test")})
        self.discoveries = Discoveries(plugins, types, self.said.append)

    def ask(self) -> list[str]:
        """Ask as at start or at a reload, let all that is due be found, and give what was said."""
        before = len(self.said)
        self.discoveries.ask(msgspec.structs.replace(config.default_settings(), path=self._path))
        self.look()
        return self.said[before:]

    def later(self, seconds: float = EVERY_S) -> list[str]:
        """Let time pass, let what is due be found, and give what was said."""
        self.now += seconds
        return self.look()

    def look(self) -> list[str]:
        """Run what is due to its end and give what was said."""
        before = len(self.said)
        self.tend()
        for thread in threading.enumerate():
            if thread.name == "find":
                thread.join()
        self.tend()
        return self.said[before:]

    def tend(self) -> list[str]:
        """Do what is done each second, and give what was said since the last look."""
        before = len(self.said)
        self.discoveries.tend(self.dsn, self.now)
        return self.said[before:]

    def names(self) -> dict[str, str]:
        """Give the endpoints that are to be watched, with their sources."""
        with closing(psycopg2.connect(self.dsn)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT name, source FROM endpoints WHERE removed_at IS NULL ORDER BY name")
            return dict(cursor.fetchall())


@pytest.fixture(name="catalogue")
def fixture_catalogue() -> Catalogue:
    """Give a plugin."""
    return Catalogue()


@pytest.fixture(name="place")
def fixture_place(database: str, catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Give the part of an agent with that plugin."""
    monkeypatch.setenv("WATCHER_DATA_DIR", str(tmp_path))
    return Place(database, tmp_path / "watcher.toml", catalogue)


def test_what_joined_and_left_is_applied_and_told(place: Place, catalogue: Catalogue) -> None:
    here = [table("a"), table("b"), table("c")]
    catalogue.finds = [lambda: here]
    assert place.ask() == ["plugin:catalogue: 3 added"]
    assert place.names() == dict.fromkeys("abc", "plugin:catalogue")
    assert not place.later(), "nothing is said when nothing changed"
    here[1:] = [table("c", status=200), table("d"), table("e")]
    assert not place.later(EVERY_S - 1), "it is not due yet"
    assert place.later(1) == ["plugin:catalogue: 2 added, 1 changed, 1 removed, 1 unchanged"]
    assert list(place.names()) == ["a", "c", "d", "e"]
    assert place.ask() == ["plugin:catalogue: 4 unchanged"], "a reload looks at once, and says that all is well"


def test_an_empty_result_is_the_truth(place: Place, catalogue: Catalogue) -> None:
    here = [table("a")]
    catalogue.finds = [lambda: here]
    place.ask()
    here.clear()
    assert place.later() == ["plugin:catalogue: 1 removed"]
    assert not place.names()


def answers(*of: Any) -> Callable[[], Any]:
    """Give a find that answers one after the other; an exception is raised."""
    waiting = iter(of)

    def find() -> Any:
        answer = next(waiting)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return find


def test_a_failed_find_keeps_what_runs_and_is_told_once_until_it_works_again(
    place: Place, catalogue: Catalogue
) -> None:
    refused = ValueError("the catalogue is away")
    catalogue.finds = [answers([table("a")], refused, refused, [table("a")], LookupError("x"))]
    place.ask()
    assert place.later() == ["plugin:catalogue: the catalogue is away; its endpoints stay as they are"]
    assert not place.later()
    assert list(place.names()) == ["a"]
    assert place.later() == ["plugin:catalogue: works again, 1 endpoint found"]
    assert place.later() == ["plugin:catalogue: LookupError: x; its endpoints stay as they are"]


def test_an_address_in_the_words_makes_no_new_trouble(place: Place, catalogue: Catalogue) -> None:
    catalogue.finds = [answers(OSError("<Pool at 0x7f01>: away"), OSError("<Pool at 0x7f02>: away"))]
    assert place.ask() == ["plugin:catalogue: OSError: <Pool at 0x7f01>: away; its endpoints stay as they are"]
    assert not place.later()


def test_no_secret_is_in_what_is_told(place: Place, catalogue: Catalogue) -> None:
    text = "no answer of https://h/?token=confidential nor of https://me:confidential@h/"
    catalogue.finds = [answers(OSError(text)), answers([Failure(text)])]
    assert len(place.ask()) == 2 and "confidential" not in "".join(place.said)


def test_one_broken_find_does_not_stop_the_others(place: Place, catalogue: Catalogue) -> None:
    gone, here = [table("a")], [table("b")]
    catalogue.finds = [answers(gone, OSError("away"), OSError("away"), []), lambda: here]
    assert place.ask() == ["plugin:catalogue: 2 added"]
    here[:] = [table("c")]
    assert place.later()[-1] == "plugin:catalogue: 1 added, 1 removed, 1 unchanged"
    assert list(place.names()) == ["a", "c"], "of the broken one the last good result holds"
    place.later()
    place.later()
    assert list(place.names()) == ["c"]


def test_nothing_is_removed_before_every_find_has_succeeded(place: Place, catalogue: Catalogue) -> None:
    here = [table("b")]
    catalogue.finds = [lambda: [table("a")], lambda: here]
    place.ask()
    here[:] = [table("c")]
    catalogue.finds = [answers(OSError("away"), []), lambda: here]
    place.ask()
    assert list(place.names()) == ["a", "b", "c"], "who knows what the first would give"
    place.later()
    assert list(place.names()) == ["c"]


def test_what_is_found_in_part_joins_and_nothing_leaves(place: Place, catalogue: Catalogue) -> None:
    half = [table("b"), Failure("a.json: not written to its end")]
    catalogue.finds = [answers([table("a")], half, half, [table("b")])]
    place.ask()
    told = "a.json: not written to its end; until all is found none of its endpoints is removed"
    assert place.later() == [f"plugin:catalogue: {told}", "plugin:catalogue: 1 added"]
    assert list(place.names()) == ["a", "b"]
    assert not place.later()
    works = "plugin:catalogue: works again, 1 endpoint found"
    assert place.later() == [works, "plugin:catalogue: 1 removed, 1 unchanged"]


def test_many_troubles_are_told_in_few_lines(place: Place, catalogue: Catalogue) -> None:
    catalogue.finds = [lambda: [Failure(f"{number}.json") for number in range(100)]]
    said = place.ask()
    assert len(said) == 6 and said[-1] == "plugin:catalogue: 95 more of that kind"


def test_a_wrong_table_is_a_failed_find(place: Place, catalogue: Catalogue) -> None:
    catalogue.finds = [answers([table("a")], [table("b"), table("c", statuss=200)], [table("b")])]
    place.ask()
    mistake, rest = place.later()
    assert mistake.startswith('plugin:catalogue: endpoint "c": ') and 'did you mean "status"?' in mistake
    assert rest == "1 mistake in what plugin:catalogue gives; its endpoints stay as they are"
    assert list(place.names()) == ["a"]
    place.later()
    assert list(place.names()) == ["b"]


def test_a_name_that_two_finds_give_is_the_first_ones(place: Place, catalogue: Catalogue) -> None:
    second = [table("a", interval=30), table("b")]
    catalogue.finds = [lambda: [table("a"), table("a")], lambda: second]
    told = 'plugin:catalogue: gives more than one endpoint the same name, only the first is watched: "a"'
    assert place.ask() == ["plugin:catalogue: 2 added", told]
    second[:] = [table("a", interval=30), table("c")]
    assert place.later() == ["plugin:catalogue: 1 added, 1 removed, 1 unchanged"], "what is told stays told"
    second[:] = [table("a"), table("c")]
    assert not place.later(), "the same endpoint found twice is one"
    with closing(psycopg2.connect(place.dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT interval_s FROM endpoints WHERE name = 'a'")
        assert cursor.fetchone() == (60.0,)


def test_a_name_given_twice_by_one_find_is_the_first_ones(place: Place, catalogue: Catalogue) -> None:
    catalogue.finds = [lambda: [table("a"), table("a", interval=30)]]
    said = place.ask()
    assert said[0] == "plugin:catalogue: 1 added" and said[1].endswith('only the first is watched: "a"')


def test_a_name_of_another_source_is_taken_over_and_told(database: str, tmp_path: Path) -> None:
    catalogues = Catalogue(), Catalogue()
    for catalogue in catalogues:
        catalogue.finds = [lambda: [table("a")]]
    place = Place(database, tmp_path / "watcher.toml", *catalogues)
    assert 'endpoint "a" is taken over from plugin:catalogue' in place.ask()
    assert place.names() == {"a": "plugin:catalogue1"}
    assert not place.later(), "and not back and forth"


def test_while_the_database_is_away_what_was_found_waits(place: Place, catalogue: Catalogue) -> None:
    here, dsn = [table("a")], place.dsn
    catalogue.finds = [lambda: here]
    place.ask()
    here[:] = [table("b")]
    place.dsn = AWAY
    (told,) = place.later()
    assert told.endswith("; what plugins found is not applied yet, it is tried again")
    assert not place.later(AGAIN_S), "that is told once"
    here[:] = [table("c")]
    assert not place.later()
    place.dsn = dsn
    assert place.later(AGAIN_S) == ["plugin:catalogue: 1 added, 1 removed"]
    assert list(place.names()) == ["c"]


def test_what_postgresql_cannot_hold_is_told_and_holds_up_no_other(database: str, tmp_path: Path) -> None:
    bad, good = Catalogue(), Catalogue()
    bad.finds, good.finds = [lambda: [table("a", locations=["\ud800"])]], [lambda: [table("b")]]
    place = Place(database, tmp_path / "watcher.toml", bad, good)
    said = place.ask()
    assert list(place.names()) == ["b"]
    assert any("plugin:catalogue" in line and "stay as they are" in line for line in said), said


def test_tables_and_discoveries_are_one_source(place: Place, catalogue: Catalogue) -> None:
    catalogue.plain, catalogue.finds = [table("a")], [lambda: [table("b")]]
    place.ask()
    assert list(place.names()) == ["a", "b"]
    catalogue.plain = []
    place.ask()
    assert list(place.names()) == ["b"]


def test_tables_with_a_mistake_keep_what_is_there(place: Place, catalogue: Catalogue) -> None:
    catalogue.plain = [table("a")]
    assert place.ask() == ["plugin:catalogue: 1 added"]
    catalogue.plain = [table("b", statuss=1)]
    assert place.ask()[-1] == "1 mistake in what plugin:catalogue gives; its endpoints stay as they are"
    assert list(place.names()) == ["a"]


@pytest.mark.parametrize("error", [LookupError("no catalogue"), SystemExit("no catalogue")])
def test_a_plugin_that_breaks_at_a_reload_goes_on_as_it_was(
    place: Place, catalogue: Catalogue, error: BaseException
) -> None:
    here = [table("a")]
    catalogue.finds = [lambda: here]
    place.ask()
    catalogue.plain = error
    kind = type(error).__name__
    assert place.ask() == [f"plugin:catalogue: {kind}: no catalogue; its endpoints stay as they are"]
    here.append(table("b"))
    assert place.later() == ["plugin:catalogue: 1 added, 1 unchanged"]


def test_a_plugin_that_is_not_set_up_leaves_the_endpoints_of_other_nodes_alone(
    place: Place, catalogue: Catalogue, tmp_path: Path
) -> None:
    catalogue.finds = [lambda: [table("a")]]
    place.ask()
    elsewhere = Catalogue()
    elsewhere.configured = False
    other = Place(place.dsn, tmp_path / "other.toml", elsewhere)
    assert not other.ask() and other.discoveries.sources == set()
    assert list(place.names()) == ["a"]
    catalogue.configured = False
    assert place.ask() == ["plugin:catalogue: 1 removed"], "who had set it up has taken it out"


class Unconfigured(Catalogue):
    """One that has settings, of which nothing is written."""

    @staticmethod
    @hookimpl
    def watcher_settings() -> Any:
        """Have a table."""
        return Options


def test_nor_does_one_with_settings_that_gives_nothing(place: Place, catalogue: Catalogue, tmp_path: Path) -> None:
    catalogue.finds = [lambda: [table("a")]]
    place.ask()
    other = Place(place.dsn, tmp_path / "other.toml", Unconfigured())
    assert not other.ask() and other.discoveries.sources == set()
    assert list(place.names()) == ["a"]


def test_tables_that_are_none_any_more_are_removed_after_a_restart_too(
    place: Place, catalogue: Catalogue, tmp_path: Path
) -> None:
    catalogue.plain = [table("a")]
    place.ask()
    catalogue.plain = []
    assert Place(place.dsn, tmp_path / "watcher.toml", catalogue).ask() == ["plugin:catalogue: 1 removed"]


@pytest.fixture(name="gate")
def fixture_gate() -> Iterator[threading.Event]:
    """Give an event that lets go at the end all that wait for it."""
    gate = threading.Event()
    yield gate
    gate.set()


def test_a_find_that_hangs_holds_up_nothing(place: Place, catalogue: Catalogue, gate: threading.Event) -> None:
    catalogue.finds = [lambda: [gate.wait()], lambda: [table("b")]]
    place.discoveries.ask(config.default_settings())
    place.tend()
    while "b" not in place.names():
        place.tend()
    place.now += 61
    assert "plugin:catalogue: no answer within 60 s, it is still waited for; its endpoints stay as they are" in (
        place.tend()
    )
    assert not any("removed" in line for line in place.said)


def test_the_number_of_threads_is_bounded(place: Place, catalogue: Catalogue, gate: threading.Event) -> None:
    def running() -> int:
        return sum(thread.name == "find" for thread in threading.enumerate())

    catalogue.finds = [lambda: [gate.wait()]] * 20
    for _ in range(3):
        place.discoveries.ask(config.default_settings())
        place.tend()
    assert running() == THREADS_MOST
    assert place.said == ["32 discoveries are under way at once; the others wait for one that comes back"]
    gate.set()


def test_paths_of_tables_are_relative_to_the_configuration(place: Place, catalogue: Catalogue, tmp_path: Path) -> None:
    catalogue.finds = [lambda: [table("a", page="page.html")]]
    place.ask()
    with closing(psycopg2.connect(place.dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT options FROM endpoints")
        assert cursor.fetchone() == ({"page": f"{tmp_path}/page.html"},)
