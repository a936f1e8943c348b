"""Words that other monitors use for what is called otherwise here: for messages about unknown keys."""

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
_WORDS = {word: ours for ours, words in MEANT.items() for word in words.split()}
_ABSENT = {
    "conditions": 'what an answer must be has an option each: "status", "contains", "json", "latency" …',
    "condition": 'what an answer must be has an option each: "status", "contains", "json", "latency" …',
    "alerts": "watcher does not notify by itself; plugins may, by the hook watcher_incident",
    "notifications": "watcher does not notify by itself; plugins may, by the hook watcher_incident",
    "retries": "a check is made once; the next comes after the interval",
    "port": "the port belongs to the URL",
    "host": "the host belongs to the URL",
    "type": "what is checked is said by the URL's scheme, such as tcp:// or dns://",
}


def hint(key: str) -> str:
    """Give what a key of another monitor is called here, as the end of a message; empty for words nobody uses."""
    word = key.lower()
    if word in _WORDS:
        return f'; here it is "{_WORDS[word]}"'
    return f"; {_ABSENT[word]}" if word in _ABSENT else ""
