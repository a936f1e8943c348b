-- Who measures.

-- name: register
-- The same host, location and variant is the same agent, restarted.
INSERT INTO agents (location, host, variant, version, clock)
VALUES (%(location)s, %(host)s, %(variant)s, %(version)s, %(clock)s)
ON CONFLICT (host, location, variant) DO UPDATE
   SET version = excluded.version, clock = excluded.clock, started_at = now(), seen_at = now()
RETURNING id;

-- name: seen
UPDATE agents SET seen_at = now() WHERE id = %(id)s;
