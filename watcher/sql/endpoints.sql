-- Who is watched.

-- name: load
-- All that is to be watched, and the cursor of this very snapshot: the oldest transaction that was still under way, so
-- that `changes` finds whatever it and later ones commit. One row of nulls when there is nothing.
SELECT snapshot.cursor, id, name, url, interval_s, timeout_s, priority, enabled, labels, locations, options, source
  FROM (SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS cursor) AS snapshot
  LEFT JOIN endpoints ON enabled AND removed_at IS NULL
 ORDER BY id;

-- name: changes
-- What changed since a cursor, at least once: first what is no longer to be watched (its id is all that counts), then
-- what is. A row of nulls stands for nothing.
SELECT snapshot.cursor, id, name, url, interval_s, timeout_s, priority, enabled,
       CASE WHEN enabled THEN labels END, CASE WHEN enabled THEN locations END, CASE WHEN enabled THEN options END,
       source
  FROM (SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS cursor) AS snapshot
  LEFT JOIN (
           SELECT id, name, url, interval_s, timeout_s, priority, enabled AND removed_at IS NULL AS enabled,
                  labels, locations, options, source
             FROM endpoints
            WHERE changed_xid >= %(since)s::xid8
       ) AS changed ON true
 ORDER BY enabled, id;

-- name: some
-- Of these ids, what is to be watched, in the form of `load`.
SELECT NULL AS cursor, id, name, url, interval_s, timeout_s, priority, enabled, labels, locations, options, source
  FROM (VALUES (1)) AS one
  LEFT JOIN endpoints ON id = ANY (%(ids)s) AND enabled AND removed_at IS NULL
 ORDER BY id;

-- name: call_files
SELECT pg_notify('watcher_endpoints', %(notice)s);

-- name: listen
LISTEN watcher_endpoints;

-- name: lock_sync
-- Agents that start together sync the same file one after the other.
SELECT pg_advisory_xact_lock(1463899203, 3);

-- name: create_wanted
CREATE TEMPORARY TABLE watcher_wanted (
    name       text PRIMARY KEY,
    url        text NOT NULL,
    interval_s double precision NOT NULL,
    timeout_s  double precision NOT NULL,
    priority   smallint NOT NULL,
    enabled    boolean NOT NULL,
    labels     jsonb NOT NULL,
    locations  text[] NOT NULL,
    options    jsonb NOT NULL
) ON COMMIT DROP;

-- name: add_wanted
-- COPY would be as quick, but psycopg2 refuses it in green mode.
INSERT INTO watcher_wanted
SELECT name, url, interval_s, timeout_s, priority, enabled, labels, locations, options
  FROM json_to_recordset(%(specs)s::json) AS spec (
           name text, url text, interval_s double precision, timeout_s double precision, priority smallint,
           enabled boolean, labels jsonb, locations text[], options jsonb
       );

-- name: analyze_wanted
ANALYZE watcher_wanted;

-- name: taken
-- Names that another source holds.
SELECT name, endpoints.source
  FROM watcher_wanted
  JOIN endpoints USING (name)
 WHERE endpoints.removed_at IS NULL AND endpoints.source <> %(source)s
 ORDER BY name;

-- name: count_revived
SELECT count(*) FROM watcher_wanted JOIN endpoints USING (name) WHERE endpoints.removed_at IS NOT NULL;

-- name: update_wanted
-- Only rows that differ: the others keep updated_at and changed_xid, and no worker hears of them.
UPDATE endpoints AS kept
   SET url = wanted.url, interval_s = wanted.interval_s, timeout_s = wanted.timeout_s, priority = wanted.priority,
       enabled = wanted.enabled, labels = wanted.labels, locations = wanted.locations, options = wanted.options,
       source = %(source)s, removed_at = NULL
  FROM watcher_wanted AS wanted
 WHERE kept.name = wanted.name
   AND (
           kept.url, kept.interval_s, kept.timeout_s, kept.priority, kept.enabled,
           kept.labels, kept.locations, kept.options, kept.source, kept.removed_at
       ) IS DISTINCT FROM (
           wanted.url, wanted.interval_s, wanted.timeout_s, wanted.priority, wanted.enabled,
           wanted.labels, wanted.locations, wanted.options, %(source)s, NULL::timestamptz
       );

-- name: insert_wanted
INSERT INTO endpoints (name, url, interval_s, timeout_s, priority, enabled, labels, locations, options, source)
SELECT name, url, interval_s, timeout_s, priority, enabled, labels, locations, options, %(source)s
  FROM watcher_wanted AS wanted
 WHERE NOT EXISTS (SELECT FROM endpoints WHERE endpoints.name = wanted.name)
 ORDER BY name
ON CONFLICT (name) DO NOTHING;

-- name: remove_unwanted
UPDATE endpoints SET removed_at = now()
 WHERE source = %(source)s AND removed_at IS NULL
   AND NOT EXISTS (SELECT FROM watcher_wanted AS wanted WHERE wanted.name = endpoints.name);

-- name: find
SELECT id, name, url, interval_s, timeout_s, priority, enabled, labels, locations, options, source,
       created_at, updated_at, removed_at
  FROM endpoints
 WHERE (%(names)s::text[] IS NULL OR name = ANY (%(names)s))
   AND labels @> %(labels)s::jsonb
   AND (%(source)s::text IS NULL OR source = %(source)s)
   AND (%(enabled)s::boolean IS NULL OR enabled = %(enabled)s)
   AND (removed_at IS NOT NULL) = %(removed)s
 ORDER BY name;

-- name: names
-- Names of about this length, to find near ones.
SELECT name FROM endpoints
 WHERE removed_at IS NULL AND abs(length(name) - length(%(name)s)) <= 4
 ORDER BY name;

-- name: set_enabled
UPDATE endpoints SET enabled = %(enabled)s WHERE id = ANY (%(ids)s) AND enabled <> %(enabled)s RETURNING id;

-- name: all_options
-- Of removed ones too: they keep their rows.
SELECT id, name, options FROM endpoints ORDER BY id;

-- name: set_options
UPDATE endpoints SET options = changed.options
  FROM json_to_recordset(%(rows)s::json) AS changed (id bigint, options jsonb)
 WHERE endpoints.id = changed.id AND endpoints.options IS DISTINCT FROM changed.options;

-- name: remove
UPDATE endpoints SET removed_at = now() WHERE id = ANY (%(ids)s) AND removed_at IS NULL RETURNING id;
