-- Who measures.

-- name: register
-- The same host, location and variant is the same agent, restarted.
INSERT INTO agents (location, host, variant, version, clock)
VALUES (%(location)s, %(host)s, %(variant)s, %(version)s, %(clock)s)
ON CONFLICT (host, location, variant) DO UPDATE
   SET version = excluded.version, clock = excluded.clock, started_at = now(), seen_at = now()
RETURNING id;

-- name: add_health
INSERT INTO agent_health (
    time, agent_id, worker, checks, missed, shed, lag_p99_us, late_p99_us,
    canary_checks, error_p50_us, error_max_us, suspect, produced, stored, damaged, dropped, spooled
)
VALUES (
    now(), %(agent_id)s, %(worker)s, %(checks)s, %(missed)s, %(shed)s, %(lag_p99_us)s, %(late_p99_us)s,
    %(canary_checks)s, %(error_p50_us)s, %(error_max_us)s, %(suspect)s,
    %(produced)s, %(stored)s, %(damaged)s, %(dropped)s, %(spooled)s
)
ON CONFLICT DO NOTHING;

-- name: forget_health
DELETE FROM agent_health WHERE time < now() - make_interval(days => %(keep_days)s);

-- name: seen
UPDATE agents SET seen_at = now() WHERE id = %(id)s;
