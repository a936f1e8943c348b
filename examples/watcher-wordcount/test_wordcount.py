"""The step sees a response as any step does: a `requests.Response`."""

import requests
import watcher_wordcount

from watcher import Endpoint


def verdict(page, **options):
    response = requests.Response()
    response._content = page
    endpoint = Endpoint(name="page", url="https://example.com/", options=options)
    step = watcher_wordcount.watcher_steps(endpoint)
    return step and step(response)


def test_a_page_with_enough_words_is_as_it_should_be():
    assert verdict(b"<p>one two\nthree</p>", min_words=3) is None


def test_a_page_with_too_few_words_is_not():
    assert verdict(b"one two", min_words=3).detail == "2 words, wanted 3"


def test_an_endpoint_without_the_option_has_no_step():
    assert verdict(b"") is None
