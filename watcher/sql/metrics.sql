-- The time series: writing it, and keeping it to its length.

-- name: insert
-- One slice: an array literal a column. Times are microseconds since the epoch: a double holds them exactly and
-- to_timestamp rounds to the microsecond (until 2106). Numbers that no column can hold are cut to what it can: a clock that
-- jumped must not make a whole batch unstorable. In FROM, `unnest` would first put all rows together in a table of its own,
-- which takes the server a seventh more.
INSERT INTO metrics (
    endpoint_id, time, status, reason, http_status,
    latency_us, dns_us, connect_us, tls_us, ttfb_us, transfer_us,
    body_bytes, regex_found, lag_us, late_us, address, detail, agent_id
)
SELECT endpoint_id, to_timestamp(time_us / 1e6::float8), status, reason,
       CASE WHEN http_status > 32767 THEN 32767 WHEN http_status < -32767 THEN -32767 ELSE http_status END::smallint,
       CASE WHEN latency_us > 2147483647 THEN 2147483647 WHEN latency_us < -2147483647 THEN -2147483647 ELSE latency_us END::int,
       CASE WHEN dns_us > 2147483647 THEN 2147483647 WHEN dns_us < -2147483647 THEN -2147483647 ELSE dns_us END::int,
       CASE WHEN connect_us > 2147483647 THEN 2147483647 WHEN connect_us < -2147483647 THEN -2147483647 ELSE connect_us END::int,
       CASE WHEN tls_us > 2147483647 THEN 2147483647 WHEN tls_us < -2147483647 THEN -2147483647 ELSE tls_us END::int,
       CASE WHEN ttfb_us > 2147483647 THEN 2147483647 WHEN ttfb_us < -2147483647 THEN -2147483647 ELSE ttfb_us END::int,
       CASE WHEN transfer_us > 2147483647 THEN 2147483647 WHEN transfer_us < -2147483647 THEN -2147483647 ELSE transfer_us END::int,
       CASE WHEN body_bytes > 2147483647 THEN 2147483647 WHEN body_bytes < -2147483647 THEN -2147483647 ELSE body_bytes END::int,
       regex_found,
       CASE WHEN lag_us > 2147483647 THEN 2147483647 WHEN lag_us < -2147483647 THEN -2147483647 ELSE lag_us END::int,
       CASE WHEN late_us > 2147483647 THEN 2147483647 WHEN late_us < -2147483647 THEN -2147483647 ELSE late_us END::int,
       address, detail, %s
  FROM (
           SELECT unnest(%s::bigint[]) AS endpoint_id, unnest(%s::float8[]) AS time_us,
                  unnest(%s::check_status[]) AS status, unnest(%s::check_reason[]) AS reason,
                  unnest(%s::bigint[]) AS http_status, unnest(%s::bigint[]) AS latency_us,
                  unnest(%s::bigint[]) AS dns_us, unnest(%s::bigint[]) AS connect_us, unnest(%s::bigint[]) AS tls_us,
                  unnest(%s::bigint[]) AS ttfb_us, unnest(%s::bigint[]) AS transfer_us,
                  unnest(%s::bigint[]) AS body_bytes, unnest(%s::boolean[]) AS regex_found,
                  unnest(%s::bigint[]) AS lag_us, unnest(%s::bigint[]) AS late_us,
                  unnest(%s::inet[]) AS address, unnest(%s::text[]) AS detail
       ) AS slice;

-- name: last
-- When each of these endpoints was checked last by an agent, within a time.
SELECT endpoint.id, (extract(epoch FROM check_made.time) * 1e6)::bigint
  FROM unnest(%(ids)s::bigint[]) AS endpoint (id),
       LATERAL (
           SELECT time FROM metrics
            WHERE endpoint_id = endpoint.id AND agent_id = %(agent_id)s
              AND time >= to_timestamp(%(since_us)s / 1e6::float8) AND time < to_timestamp(%(until_us)s / 1e6::float8)
            ORDER BY time DESC
            LIMIT 1
       ) AS check_made;

-- name: days
-- The days (UTC) that the rows of a slice belong to.
SELECT DISTINCT (to_timestamp(time_us / 1e6::float8) AT TIME ZONE 'UTC')::date
  FROM unnest(%(times)s::float8[]) AS slice (time_us);

-- name: lock_partitions
-- One maker of partitions at a time; given back at the end of the transaction.
SELECT pg_advisory_xact_lock(1463899203, 2);

-- name: lock_expiry
-- Expiry runs outside a transaction, so these locks are the session's. First that of the rollups (sql/rollups.sql), which
-- may be held for long: nobody who needs a day made shall wait for us meanwhile. Who sums up reads days by their names.
SELECT pg_advisory_lock(1463899203, 4), pg_advisory_lock(1463899203, 2);

-- name: unlock_expiry
-- Whichever of them we got; the connection is the upkeep's own.
SELECT pg_advisory_unlock_all();

-- name: partitions
-- Every daily partition that is attached, and whether its DETACH was cut short. (PostgreSQL 13 lacks that column.)
SELECT class.relname, coalesce((to_jsonb(link) ->> 'inhdetachpending')::boolean, false)
  FROM pg_inherits AS link
  JOIN pg_class AS class ON class.oid = link.inhrelid
 WHERE link.inhparent = 'metrics'::regclass AND class.relname ~ '^metrics_[0-9]{8}$'
 ORDER BY class.relname;

-- name: leftovers
-- Partitions that were marked for removal and detached, but not dropped: somebody pulled the plug in between. A table
-- without the mark is the user's, e.g. a day that was detached to keep it.
SELECT class.relname
  FROM pg_class AS class
 WHERE class.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'metrics'::regclass)
   AND class.relname ~ '^metrics_[0-9]{8}$'
   AND NOT class.relispartition
   AND obj_description(class.oid, 'pg_class') = 'watcher: expired'
 ORDER BY class.relname;

-- name: is_there
-- Something of this name, where a partition would be made.
SELECT EXISTS (SELECT FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relname = %(name)s);

-- name: add_partition
-- Of any of our tables: as their owner, whoever we are (sql/migrations/0009).
SELECT watcher_add_partition(%(table)s, %(moment)s);

-- name: is_ours
SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = 'metrics'::regclass;

-- name: mark_expired
COMMENT ON TABLE {partition} IS 'watcher: expired';

-- name: detach_concurrently
ALTER TABLE metrics DETACH PARTITION {partition} CONCURRENTLY;

-- name: detach_finalize
ALTER TABLE metrics DETACH PARTITION {partition} FINALIZE;

-- name: detach
-- PostgreSQL 13 knows no other: writers wait for the moment that it takes.
ALTER TABLE metrics DETACH PARTITION {partition};

-- name: drop_partition
-- Of any of our tables, one that has ended.
SELECT watcher_drop_partition(%(name)s);

-- name: lock_timeout
-- A report that runs for hours must not make upkeep, and whoever queues behind it, wait for hours.
SELECT set_config('lock_timeout', %(timeout)s, false);

-- name: now
SELECT now();

-- name: has_jobs
-- Whether TimescaleDB would run a job for us: not in its Apache edition, and not for an owner that cannot log in, such as a
-- role of `watcher db roles`.
SELECT current_setting('timescaledb.license') = 'timescale', rolcanlogin
  FROM pg_class JOIN pg_roles ON pg_roles.oid = relowner
 WHERE pg_class.oid = 'metrics'::regclass;

-- name: retention
-- The age at which TimescaleDB itself drops chunks, as whole days; null without a policy.
SELECT extract(epoch FROM (config ->> 'drop_after')::interval) / 86400
  FROM timescaledb_information.jobs
 WHERE proc_name = 'policy_retention' AND hypertable_name = 'metrics' AND hypertable_schema = (
           SELECT nspname FROM pg_class JOIN pg_namespace AS schema ON schema.oid = relnamespace
            WHERE pg_class.oid = 'metrics'::regclass
       );

-- name: remove_retention
SELECT remove_retention_policy('metrics', if_exists => true);

-- name: add_retention
SELECT add_retention_policy('metrics', make_interval(days => %(keep_days)s));

-- name: drop_chunks_for_owner
SELECT watcher_drop_chunks(%(keep_days)s);

-- name: drop_chunks
SELECT drop_chunks('metrics', older_than => %(before)s::timestamptz);
