"""The plugin `sitemap`, against a real HTTP server."""

from __future__ import annotations

import gzip
import http.server
import ssl
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from discovering import Found, discoveries, specs, trouble, urls

from watcher import Discovery, config
from watcher.config.options import OptionTypes
from watcher.errors import ConfigError
from watcher.plugins.discovery import sitemap

NAMESPACE = "http://www.sitemaps.org/schemas/sitemap/0.9"
# the sample of sitemaps.org/protocol.html with an image of Google's extension, of which the <loc> is no page
SAMPLE = """<?xml version="1.0" encoding="UTF-8"?>
<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"
        xmlns:image="http://www.google.com/schemas/sitemap-image/1.1">
   <url>
      <loc>{site}/</loc>
      <lastmod>2005-01-01</lastmod>
      <image:image><image:loc>{site}/image.jpg</image:loc></image:image>
      <image:loc>{site}/image.jpg</image:loc>
   </url>
   <url>
      <loc>
        {site}/catalog?item=12&amp;desc=vacation_hawaii
      </loc>
   </url>
   <url><loc><![CDATA[{site}/ümlat.php]]></loc></url>
   <url><loc>{site}/</loc></url>
</urlset>"""
PAGES = ["/", "/catalog?item=12&desc=vacation_hawaii", "/ümlat.php"]


class Site(http.server.ThreadingHTTPServer):
    """Answers each path with what stands in `pages`: bytes, or status, headers and bytes; pages are added by tests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.pages: dict[str, Any] = {}
        self.asked: list[str] = []
        self.never = threading.Event()
        self.scheme = "http"

    @property
    def url(self) -> str:
        """Give the address."""
        return f"{self.scheme}://localhost:{self.server_port}"

    def add(self, path: str, *locations: str, index: bool = False) -> None:
        """Add a sitemap that names these paths or URLs."""
        root, holder = ("sitemapindex", "sitemap") if index else ("urlset", "url")
        names = [one if "://" in one else self.url + one for one in locations]
        entries = "".join(f"<{holder}><loc>{name}</loc></{holder}>" for name in names)
        self.pages[path] = f'<{root} xmlns="{NAMESPACE}">{entries}</{root}>'.encode()

    def handle_error(self, *_: Any) -> None:
        """Say nothing of clients that go away."""


class Answer(http.server.BaseHTTPRequestHandler):
    """Answers."""

    server: Site

    def do_GET(self) -> None:  # pylint: disable=invalid-name  # the name is http.server's
        """Answer what the site has; content that is announced and not there never comes."""
        self.server.asked.append(self.path)
        page = self.server.pages.get(self.path, (404, {}, b""))
        status, headers, content = page if isinstance(page, tuple) else (200, {}, page)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        if "Content-Length" in headers:
            self.server.never.wait(60)

    def log_message(self, *_: Any) -> None:  # pylint: disable=arguments-differ
        """Say nothing."""


@contextmanager
def serving(served: Site) -> Iterator[Site]:
    """Let a site answer."""
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        served.never.set()
        served.shutdown()
        thread.join()
        served.server_close()


@pytest.fixture(name="site")
def fixture_site() -> Iterator[Site]:
    """Give a site."""
    with serving(Site()) as served:
        yield served


def made(path: Path, site: Site, text: str = "") -> Discovery:
    """Give the discovery of a table `[[plugins.sitemap]]`."""
    head = f'[[plugins.sitemap]]\nurl = "{site.url}/sitemap.xml"\n'
    (found,) = discoveries(sitemap, path / "watcher.toml", head + text)
    return found


def found(path: Path, site: Site, text: str = "") -> Found:
    """Give what is found now."""
    return list(made(path, site, text).find())


def test_the_sample_of_sitemaps_org_becomes_endpoints(tmp_path: Path, site: Site) -> None:
    site.pages["/sitemap.xml"] = SAMPLE.format(site=site.url).encode()
    known = specs(found(tmp_path, site, 'endpoint = { interval = "5m" }'))
    assert [spec.url for spec in known.values()] == [site.url + path for path in PAGES]
    assert known[f"sitemap {site.url}/"].interval_s == 300


def test_it_is_asked_at_its_own_interval(tmp_path: Path, site: Site) -> None:
    assert made(tmp_path, site).every_s == 3600
    assert made(tmp_path, site, 'interval = "10m"').every_s == 600


@pytest.mark.parametrize("encoding", ["utf-16", "iso-8859-1"])
def test_any_encoding_that_xml_declares(tmp_path: Path, site: Site, encoding: str) -> None:
    site.pages["/sitemap.xml"] = SAMPLE.replace("UTF-8", encoding).format(site=site.url).encode(encoding)
    assert urls(found(tmp_path, site)) == [site.url + path for path in PAGES]


def test_an_index_and_gzip(tmp_path: Path, site: Site) -> None:
    site.add("/sitemap.xml", "/a.xml.gz", "/b.xml", "/a.xml.gz", index=True)
    site.add("/plain.xml", "/1", "/2")
    site.pages["/a.xml.gz"] = gzip.compress(site.pages["/plain.xml"])
    site.add("/b.xml", "/3")
    assert urls(found(tmp_path, site)) == [f"{site.url}/{number}" for number in (1, 2, 3)]
    assert site.asked == ["/sitemap.xml", "/a.xml.gz", "/b.xml"]


@pytest.mark.parametrize("end", [b"", b"\0" * 20_000])
def test_gzip_of_several_members(tmp_path: Path, site: Site, end: bytes) -> None:
    """RFC 1952, section 2.2; zeros at the end are what tapes and block devices leave, and `gzip -d` passes over."""
    site.add("/plain.xml", "/1", "/2")
    content = site.pages["/plain.xml"]
    site.pages["/sitemap.xml"] = b"".join(gzip.compress(part) for part in (content[:50], b"", content[50:])) + end
    assert urls(found(tmp_path, site)) == [f"{site.url}/1", f"{site.url}/2"]


def test_an_authority_that_is_not_there_is_an_error_in_plain_words(tmp_path: Path) -> None:
    site = Site()
    site.server_close()
    site.scheme = "https"
    with pytest.raises(ValueError, match="cannot be read: .*nowhere.pem"):
        found(tmp_path, site, f'ca = "{tmp_path}/nowhere.pem"')


def test_include_and_exclude(tmp_path: Path, site: Site) -> None:
    site.add("/sitemap.xml", "/shop/1", "/shop/old/2", "/blog/3")
    text = 'include = ["*/shop/*"]\nexclude = ["*/old/*"]\nname = "{host}{path}"'
    (table,) = found(tmp_path, site, text)
    assert (table["url"], table["name"]) == (f"{site.url}/shop/1", "localhost/shop/1")


def test_only_pages_of_the_own_host_unless_others_are_named(tmp_path: Path, site: Site) -> None:
    other = "http://169.254.169.254/latest/meta-data/"
    site.add("/sitemap.xml", "/1", other, "https://user:word@localhost/", "ftp://localhost/", "http://localhost:0/")
    assert urls(found(tmp_path, site)) == [f"{site.url}/1"]
    assert urls(found(tmp_path, site, 'hosts = ["169.254.169.254"]')) == [other]


def test_no_page_of_the_own_host_is_an_error_that_says_what_to_do(tmp_path: Path, site: Site) -> None:
    site.add("/sitemap.xml", "https://www.example.com/")
    with pytest.raises(ValueError, match=r'names 1 pages, none on localhost; add hosts = \["…"\] with theirs'):
        found(tmp_path, site)


def test_a_sitemap_without_pages_is_the_truth(tmp_path: Path, site: Site) -> None:
    site.add("/sitemap.xml")
    assert not found(tmp_path, site)


def test_an_index_does_not_lead_to_other_hosts(tmp_path: Path, site: Site) -> None:
    site.add("/sitemap.xml", f"http://127.0.0.1:{site.server_port}/inside.xml", index=True)
    with pytest.raises(ValueError, match="inside.xml, which is not on localhost; see the key hosts"):
        found(tmp_path, site)
    assert site.asked == ["/sitemap.xml"]


def test_one_broken_sitemap_of_an_index_is_a_failure_and_the_others_count(tmp_path: Path, site: Site) -> None:
    site.add("/sitemap.xml", "/a.xml", "/b.xml", index=True)
    site.add("/b.xml", "/1")
    now = found(tmp_path, site)
    assert urls(now) == [f"{site.url}/1"] and trouble(now) == [f"{site.url}/a.xml answers 404 Not Found"]


def test_depth_is_bounded(tmp_path: Path, site: Site) -> None:
    for number, name in enumerate(["/sitemap.xml", "/1.xml", "/2.xml"], 1):
        site.add(name, f"/{number}.xml", index=True)
    assert trouble(found(tmp_path, site)) == [f"{site.url}/2.xml is an index within 2 others; 3 levels are the most"]
    assert "/3.xml" not in site.asked
    site.add("/2.xml", "/page")
    assert urls(found(tmp_path, site)) == [f"{site.url}/page"]


def test_an_index_that_names_itself_ends(tmp_path: Path, site: Site) -> None:
    site.add("/sitemap.xml", "/sitemap.xml", index=True)
    assert not found(tmp_path, site)
    assert site.asked == ["/sitemap.xml"]


def test_the_number_of_sitemaps_is_bounded(tmp_path: Path, site: Site) -> None:
    site.add("/sitemap.xml", *(f"/{number}.xml" for number in range(1001)), index=True)
    with pytest.raises(ValueError, match="leads to more than 1,000 sitemaps"):
        found(tmp_path, site)


def test_more_pages_than_the_limit_change_nothing(tmp_path: Path, site: Site) -> None:
    site.add("/sitemap.xml", "/1", "/2", "/3")
    assert len(found(tmp_path, site, "limit = 3")) == 3
    with pytest.raises(ValueError, match="names more than 2 pages; narrow it by include, or raise limit"):
        found(tmp_path, site, "limit = 2")


BOMB = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "x" * 100}">' for n in range(10))
LEAK = '<!ENTITY e9 SYSTEM "file:///etc/passwd">'


@pytest.mark.parametrize("entities", [BOMB, LEAK, '<!ENTITY % p SYSTEM "http://localhost/x.dtd"> %p;'])
def test_entities_are_refused(tmp_path: Path, site: Site, entities: str) -> None:
    text = f"<!DOCTYPE urlset [{entities}]><urlset><url><loc>{site.url}/&e9;</loc></url></urlset>"
    site.pages["/sitemap.xml"] = text.encode()
    with pytest.raises(ValueError, match="declares an XML entity"):
        found(tmp_path, site)


def test_a_document_type_from_elsewhere_is_not_fetched(tmp_path: Path, site: Site) -> None:
    text = f'<!DOCTYPE urlset SYSTEM "{site.url}/x.dtd"><urlset><url><loc>{site.url}/1</loc></url></urlset>'
    site.pages["/sitemap.xml"] = text.encode()
    assert urls(found(tmp_path, site)) == [f"{site.url}/1"]
    assert site.asked == ["/sitemap.xml"]


@pytest.mark.parametrize("how", ["gzip file", "gzip file in gzip encoding", "plain"])
def test_bytes_are_bounded(tmp_path: Path, site: Site, how: str) -> None:
    packed = zlib.compressobj(9, wbits=31)
    head, room = b"<urlset>", b" " * (1 << 20)
    if how == "plain":
        content = head + room * 51
    else:
        content = packed.compress(head) + b"".join(packed.compress(room) for _ in range(51)) + packed.flush()
        assert len(content) < 100_000, "51 MiB in little"
    coded = 200, {"Content-Encoding": "gzip"}, gzip.compress(content)
    site.pages["/sitemap.xml"] = coded if "encoding" in how else content
    with pytest.raises(ValueError, match="is larger than 50 MiB"):
        found(tmp_path, site)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html><p>Welcome</html>", "is no sitemap: it begins with <html>"),
        (b"", "is no XML, or not there to its end: no element found"),
        (SAMPLE.encode()[:400], "is no XML, or not there to its end"),
        (gzip.compress(SAMPLE.encode())[:-100], "is no XML, or not there to its end"),
        (gzip.compress(SAMPLE.encode())[:20] + b"\xff" * 200, "is not gzip as it begins"),
        (b"<urlset>" + b"<a>" * 100, "has elements within one another 32 deep"),
    ],
)
def test_what_is_no_sitemap_is_an_error(tmp_path: Path, site: Site, content: bytes, words: str) -> None:
    site.pages["/sitemap.xml"] = content
    with pytest.raises(ValueError) as caught:
        found(tmp_path, site)
    assert str(caught.value).startswith(f"{site.url}/sitemap.xml {words}")


def test_a_url_that_is_too_long_is_left_out(tmp_path: Path, site: Site) -> None:
    site.add("/sitemap.xml", "/" + "x" * 3000, "/1", f"/{'y' * 1000}a", f"/{'y' * 1000}b")
    known = specs(found(tmp_path, site))
    assert len(known) == 3, "long names are shortened and still differ"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((503, {}, b""), "answers 503 Service Unavailable"),
        ((302, {"Location": "/sitemap.xml"}, b""), "cannot be read: Exceeded 5 redirects."),
        ((200, {"Content-Length": "100"}, b"<urlset>"), "was not read to its end in time; raise timeout"),
    ],
)
def test_a_site_that_fails_is_an_error(tmp_path: Path, site: Site, answer: Any, words: str) -> None:
    site.pages["/sitemap.xml"] = answer
    with pytest.raises(ValueError) as caught:
        found(tmp_path, site, 'timeout = "500ms"')
    assert str(caught.value) == f"{site.url}/sitemap.xml {words}"


def test_nobody_there_is_an_error_in_plain_words(tmp_path: Path) -> None:
    with Site() as gone:
        url = gone.url
    (discovery,) = discoveries(sitemap, tmp_path / "w.toml", f'[[plugins.sitemap]]\nurl = "{url}/sitemap.xml"')
    with pytest.raises(ValueError, match="sitemap.xml cannot be read: Connection refused"):
        list(discovery.find())


def test_a_private_authority_may_be_named(tmp_path: Path) -> None:
    served, authority = Site(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    served.socket, served.scheme = context.wrap_socket(served.socket, server_side=True), "https"
    with serving(served) as site:
        site.add("/sitemap.xml", "/1")
        assert urls(found(tmp_path, site, 'ca = "ca.pem"')) == [f"{site.url}/1"]
        with pytest.raises(ValueError, match="certificate"):
            found(tmp_path, site)


def test_who_writes_a_sitemap_cannot_read_the_environment(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "confidential")
    site.add("/sitemap.xml", "/?x=${SECRET}")
    (spec,) = specs(found(tmp_path, site)).values()
    assert spec.name.endswith("/?x=${SECRET}")
    assert config.endpoint(spec, OptionTypes()).url == f"{site.url}/?x=${{SECRET}}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('url = "sitemap.xml"', "url 'sitemap.xml' is not such as"),
        ('url = "https://h/"\nlimit = 0', "timeout and limit must be more than 0"),
        ('url = "https://h/"\ninterval = 1', "interval 1 s is too short; 10 s is the least"),
        ('url = "https://h/"\nname = "{title}"', "name asks for {title}; there are {host}, {path}, {url}"),
        ('url = "https://h/"\nendpoint = { name = "x" }', "name does not belong into endpoint"),
    ],
)
def test_wrong_settings_are_told_when_the_file_is_read(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        discoveries(sitemap, tmp_path / "watcher.toml", f"[[plugins.sitemap]]\n{text}\n")
    assert words in str(caught.value)


def test_without_a_table_it_has_no_say(tmp_path: Path) -> None:
    assert discoveries(sitemap, tmp_path / "watcher.toml", "") is None


@pytest.mark.parametrize("in_headers", [True, False], ids=["headers", "body"])
@pytest.mark.parametrize("secure", [True, False], ids=["https", "http"])
def test_bytes_that_trickle_in_end_at_the_timeout(tmp_path: Path, in_headers: bool, secure: bool) -> None:
    gone, broken = threading.Event(), threading.Event()

    class Trickle(http.server.BaseHTTPRequestHandler):
        """Sends a byte now and then, for an hour."""

        def do_GET(self) -> None:  # pylint: disable=invalid-name  # the name is http.server's
            """Answer without an end."""
            self.wfile.write(b"HTTP/1.0 200 OK\r\n" + (b"X: " if in_headers else b"\r\n<urlset>"))
            try:
                while not gone.wait(0.05):
                    self.wfile.write(b" ")
            except OSError:
                broken.set()

        def log_message(self, *_: Any) -> None:  # pylint: disable=arguments-differ
            """Say nothing."""

    served, more = Site(), 'timeout = "700ms"'
    served.RequestHandlerClass = Trickle
    if secure:
        context, authority = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), trustme.CA()
        authority.issue_cert("localhost").configure_cert(context)
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        served.socket, served.scheme = context.wrap_socket(served.socket, server_side=True), "https"
        more += '\nca = "ca.pem"'
    with serving(served) as site:
        try:
            with pytest.raises(ValueError, match="sitemap.xml was not read to its end in time; raise timeout"):
                found(tmp_path, site, more)
            assert broken.wait(30), "the connection is closed: nobody reads any more"
        finally:
            gone.set()
