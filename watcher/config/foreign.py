"""Words that other monitors use for what is called otherwise here: for messages about unknown keys and schemes."""

from __future__ import annotations

MEANT = {
    "labels": "group tags tag groups",
    "interval": "frequency every heartbeat schedule min_collection_interval",
    "status": "expected_status accepted_statuscodes valid_status_codes http_response_status_code expect_status",
    "contains": "keyword invertkeyword content_match search",
    "regex": "fail_if_body_matches_regexp fail_if_body_not_matches_regexp reverse_content_match pattern",
    "json": "jsonpath json_path jsonquery",
    "latency": "response_time slow threshold max_response_time",
    "certificate": "cert_days ssl_expiry check_certificate_expiration certificate_expiration days_warning",
    "tls": "insecure verify verify_ssl tls_verify ignoretls tls_config ca ca_file cert tls_ca_cert",
    "ip_version": "preferred_ip_protocol",
    "body": "data payload",
    "basic_auth": "username password user",
    "bearer": "token bearer_token authorization",
    "follow_redirects": "allow_redirects no_follow_redirects maxredirects",
    "resolver": "dns_resolver dns_server",
}
_SECTIONS = {
    "": {
        "endpoints": "monitors targets services sites checks urls hosts http_check instances probe",
        "database": "storage store postgres postgresql timescaledb db",
        "defaults": "default global globals init_config",
        "include": "includes import imports",
    },
    "database": {
        "dsn": "url uri connection connection_string connection_url database_url path host",
        "keep_days": "retention retention_days keep keep_data_period_days maximum_number_of_results",
    },
    "agent": {
        "location": "region place site node zone",
        "workers": "processes threads",
        "concurrency": "max_concurrency parallelism max_in_flight",
        "data_dir": "path directory dir state_dir",
    },
}
_SECTION_WORDS = {
    section: {word: ours for ours, words in meant.items() for word in words.split()}
    for section, meant in _SECTIONS.items()
}
_SCHEMES = {
    "icmp": "ping icmp4 icmp6 icmpv4 icmpv6",
    "tcp": "port tcp4 tcp6 telnet",
    "tls": "ssl cert certificate",
    "ws": "websocket",
    "wss": "websockets",
    "pop3": "pop",
    "pop3s": "pops",
    "postgres": "pg psql pgsql",
    "rediss": "redis+tls rediss+tls",
    "http": "h2c http1",
    "https": "h2 http2 http3 h3",
}
_SCHEME_WORDS = {word: ours for ours, words in _SCHEMES.items() for word in words.split()}
_WORDS = {word: ours for ours, words in MEANT.items() for word in words.split()}
_ABSENT = {
    "conditions": 'what an answer must be has an option each: "status", "contains", "json", "latency" …',
    "condition": 'what an answer must be has an option each: "status", "contains", "json", "latency" …',
    "alerts": "watcher does not notify by itself; plugins may, by the hook watcher_incident",
    "alerting": "watcher does not notify by itself; plugins may, by the hook watcher_incident",
    "notifications": "watcher does not notify by itself; plugins may, by the hook watcher_incident",
    "retries": "a check is made once; the next comes after the interval",
    "options": "options are keys of the endpoint itself, without a table around them",
    "port": "the port belongs to the URL",
    "host": "the host belongs to the URL",
    "type": "what is checked is said by the URL's scheme, such as tcp:// or dns://",
}
_TELLING_OTHERS = ("alerts", "alerting", "notifications")


def hint(key: str) -> str:
    """Give what a key of another monitor is called here, as the end of a message; empty for words nobody uses."""
    word = key.lower()
    if word in _WORDS:
        return f'; here it is "{_WORDS[word]}"'
    return f"; {_ABSENT[word]}" if word in _ABSENT else ""


def section_hint(section: str, key: str) -> str:
    """Give the same for a key of a section, or of none where it is empty: of the file itself."""
    word = key.lower()
    ours = _SECTION_WORDS.get(section, {}).get(word)
    if ours == "endpoints":
        return "; here each is a table under [[endpoints]]"
    if ours:
        return f'; here it is "{ours}"'
    return f"; {_ABSENT[word]}" if not section and word in _TELLING_OTHERS else ""


def scheme_hint(scheme: str) -> str:
    """Give what the scheme of a URL is called here, as the end of a message; empty for one that nobody uses."""
    if scheme.lower() == "starttls":
        return '; use smtp://, imap:// or pop3:// with mail = { starttls = true }'
    ours = _SCHEME_WORDS.get(scheme.lower())
    return f"; here it is {ours}://" if ours else ""
