-- The time series: writing it, and keeping it to its length.

-- name: insert
-- One slice: an array literal a column. Times are microseconds since the epoch: a double holds them exactly and
-- to_timestamp rounds to the microsecond (until 2106). Numbers that no column can hold are cut to what it can: a clock that
-- jumped must not make a whole batch unstorable.
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
  FROM unnest(
           %s::bigint[], %s::float8[], %s::check_status[], %s::check_reason[], %s::bigint[],
           %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
           %s::bigint[], %s::boolean[], %s::bigint[], %s::bigint[], %s::inet[], %s::text[]
       ) AS slice (
           endpoint_id, time_us, status, reason, http_status,
           latency_us, dns_us, connect_us, tls_us, ttfb_us, transfer_us,
           body_bytes, regex_found, lag_us, late_us, address, detail
       )
ON CONFLICT DO NOTHING;

-- name: days
-- The days (UTC) that the rows of a slice belong to.
SELECT DISTINCT (to_timestamp(time_us / 1e6::float8) AT TIME ZONE 'UTC')::date
  FROM unnest(%(times)s::float8[]) AS slice (time_us);

-- name: lock_partitions
-- One maker of partitions at a time; given back at the end of the transaction.
SELECT pg_advisory_xact_lock(1463899203, 2);

-- name: try_lock_expiry
-- Expiry runs outside a transaction, so this lock is the session's; another agent is at it when it is not to be had.
SELECT pg_try_advisory_lock(1463899203, 2);

-- name: unlock_expiry
SELECT pg_advisory_unlock(1463899203, 2);

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

-- name: create_partition
-- With its indexes, so that ATTACH finds all in place. No CHECK: it would spare the scan of a table that is empty here,
-- and would then be evaluated for every row.
CREATE TABLE {partition} (LIKE metrics INCLUDING ALL);

-- name: attach_partition
-- Writers go on: ATTACH takes no more than SHARE UPDATE EXCLUSIVE on the parent.
ALTER TABLE metrics ATTACH PARTITION {partition} FOR VALUES FROM ({first}) TO ({last});

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
DROP TABLE IF EXISTS {partition};

-- name: lock_timeout
-- A report that runs for hours must not make upkeep, and whoever queues behind it, wait for hours.
SELECT set_config('lock_timeout', %(timeout)s, false);

-- name: licence
SELECT current_setting('timescaledb.license');

-- name: retention
-- The age at which TimescaleDB itself drops chunks, as whole days; null without a policy.
SELECT extract(epoch FROM (config ->> 'drop_after')::interval) / 86400
  FROM timescaledb_information.jobs
 WHERE proc_name = 'policy_retention' AND hypertable_name = 'metrics';

-- name: remove_retention
SELECT remove_retention_policy('metrics', if_exists => true);

-- name: add_retention
SELECT add_retention_policy('metrics', make_interval(days => %(keep_days)s));

-- name: drop_chunks
SELECT drop_chunks('metrics', older_than => %(before)s::timestamptz);
