"""What the step makes of a page, and one real check."""

import pytest
import watcher_wordcount

from watcher import Status
from watcher.testing import ConfigError, Server, check, endpoint, judge, page, response


def test_a_page_with_enough_words_is_as_it_should_be():
    assert judge(response("<p>one two\nthree</p>"), watcher_wordcount, min_words=3) is None


def test_a_page_with_too_few_words_is_not():
    assert judge(response("one two"), watcher_wordcount, min_words=3).detail == "2 words, wanted 3"


def test_an_endpoint_without_the_option_has_no_step():
    assert watcher_wordcount.watcher_steps(endpoint()) is None


def test_a_number_is_wanted():
    with pytest.raises(ConfigError, match='min_words: expected a whole number, got "many"'):
        endpoint("https://example.com/", watcher_wordcount, min_words="many")


def test_a_real_check():
    with Server(page("one two three")) as server:
        assert check(server.url, watcher_wordcount, min_words=3).status is Status.UP
        assert check(server.url, watcher_wordcount, min_words=4).status is Status.DOWN
