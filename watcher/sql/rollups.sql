-- Results summed up per minute, hour and day.

-- name: try_lock
-- The session's: folding goes through several transactions. Another agent is at it when it is not to be had.
SELECT pg_try_advisory_lock(1463899203, 4);

-- name: unlock
SELECT pg_advisory_unlock(1463899203, 4);

-- name: progress
-- How far we are, and whether the transactions of the moment that we wait for have ended: all that have a number below it.
-- One that is left open for long is waited for no more: it is somebody's psql, as ours end within 15 s.
SELECT minutes_to, hours_to, seen_at,
       seen_at IS NOT NULL
       AND (pg_snapshot_xmin(pg_current_snapshot()) >= seen_xid OR seen_at < now() - make_interval(secs => %(patience_s)s)),
       now()
  FROM rollup_progress;

-- name: see
-- Our own number: whoever had one before us has a smaller one. (A snapshot's xmax is below those of transactions under way.)
UPDATE rollup_progress SET seen_at = now(), seen_xid = pg_current_xact_id();

-- name: begin
UPDATE rollup_progress SET minutes_to = %(start)s, hours_to = %(start)s;

-- name: advance
UPDATE rollup_progress SET minutes_to = %(minutes_to)s, hours_to = %(hours_to)s;

-- name: late_hours
-- Hours with late results that were summed up without them.
SELECT DISTINCT date_trunc('hour', minute, 'UTC') FROM metrics_late ORDER BY 1;

-- name: take_late
WITH taken AS (
    DELETE FROM metrics_late WHERE minute >= %(since)s AND minute < %(until)s RETURNING minute
)
SELECT min(minute), max(minute) + INTERVAL '1 minute' FROM taken WHERE minute < %(before)s;

-- name: roll_minutes
-- Rows are never changed, so a sum of no more results than the one that is there is no news; of less, it is one over
-- results of which some have been dropped since.
INSERT INTO metrics_minutes AS kept
SELECT * FROM watcher_minutes(%(since)s, %(until)s)
ON CONFLICT (endpoint_id, time) DO UPDATE SET {columns}
 WHERE kept.up + kept.degraded + kept.down + kept.missed
       < excluded.up + excluded.degraded + excluded.down + excluded.missed;

-- name: roll_hours
INSERT INTO metrics_hours AS kept
{merged}
ON CONFLICT (endpoint_id, time) DO UPDATE SET {columns}
 WHERE kept.up + kept.degraded + kept.down + kept.missed
       < excluded.up + excluded.degraded + excluded.down + excluded.missed;

-- name: roll_days
INSERT INTO metrics_days AS kept
{merged}
ON CONFLICT (endpoint_id, time) DO UPDATE SET {columns}
 WHERE kept.up + kept.degraded + kept.down + kept.missed
       < excluded.up + excluded.degraded + excluded.down + excluded.missed;

-- name: merged
-- What one sums up of several within a time; the parts may be of any length, so long as none lies within another. An
-- outage that goes on from one part to the next measured one is one incident.
SELECT %(since)s::timestamptz, endpoint_id, sum(up), sum(degraded), sum(down), sum(missed),
       sum(measured_minutes), sum(outage_minutes),
       sum(incidents) - count(*) FILTER (WHERE begins_down AND before_down),
       bool_or(begins_down) FILTER (WHERE before_down IS NULL AND measured_minutes > 0),
       bool_or(ends_down) FILTER (WHERE after_down IS NULL AND measured_minutes > 0),
       sum(latencies), sum(latency_sum_us), max(latency_max_us),
       sum(dns_sum_us), sum(connect_sum_us), sum(tls_sum_us), sum(ttfb_sum_us), sum(transfer_sum_us),
       sum(latency_histogram)
  FROM (
           SELECT *, lag(ends_down) OVER measured AS before_down, lead(begins_down) OVER measured AS after_down
             FROM {source}
            WHERE time >= %(since)s AND time < %(until)s
           WINDOW measured AS (PARTITION BY endpoint_id, measured_minutes > 0 ORDER BY time)
       ) AS part
 GROUP BY endpoint_id

-- name: partitions
SELECT class.relname
  FROM pg_inherits AS link
  JOIN pg_class AS class ON class.oid = link.inhrelid
 WHERE link.inhparent = to_regclass(%(table)s)
 ORDER BY class.relname;
