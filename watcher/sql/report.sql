-- What `watcher report` reads: the coarsest rollups that fit, and results themselves where there are none.

-- name: begin
-- One snapshot for all that is read: how far there are rollups, and these.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;

-- name: prepare
-- Memory for as many open sums as there are endpoints. Sums of histograms cost more to hand over
-- between processes than to make, and compiling the query takes longer than running it.
SELECT set_config('work_mem', '256MB', true), set_config('jit', 'off', true),
       set_config('max_parallel_workers_per_gather', '0', true);

-- name: progress
SELECT minutes_to, hours_to, now() FROM rollup_progress;

-- name: endpoints
SELECT id, name, labels, removed_at IS NOT NULL
  FROM endpoints
 WHERE (%(names)s::text[] IS NULL OR name = ANY (%(names)s)) AND labels @> %(labels)s::jsonb
   AND (removed_at IS NULL OR %(removed)s OR %(names)s::text[] IS NOT NULL)
 ORDER BY name;

-- name: rollups
SELECT * FROM {table}
 WHERE time >= {since} AND time < {until} AND (%(ids)s::bigint[] IS NULL OR endpoint_id = ANY (%(ids)s))
   AND (%(removed)s OR endpoint_id NOT IN (SELECT id FROM endpoints WHERE removed_at IS NOT NULL))

-- name: results
SELECT * FROM watcher_minutes({since}, {until})
 WHERE (%(ids)s::bigint[] IS NULL OR endpoint_id = ANY (%(ids)s))
   AND (%(removed)s OR endpoint_id NOT IN (SELECT id FROM endpoints WHERE removed_at IS NOT NULL))

-- name: totals
-- The sums of each endpoint, and of all in the row without an id. Histograms as digits without point and zeros at their
-- end, with their length before and their digits behind the point.
WITH total AS MATERIALIZED (
    SELECT endpoint_id, sum(up) AS up, sum(degraded) AS degraded, sum(down) AS down, sum(missed) AS missed,
           sum(measured_minutes) AS measured_minutes, sum(outage_minutes) AS outage_minutes, sum(incidents) AS incidents,
           bool_or(begins_down) AS begins_down, sum(latencies) AS latencies, sum(latency_sum_us) AS latency_sum_us,
           max(latency_max_us) AS latency_max_us, sum(dns_sum_us) AS dns_sum_us, sum(connect_sum_us) AS connect_sum_us,
           sum(tls_sum_us) AS tls_sum_us, sum(ttfb_sum_us) AS ttfb_sum_us, sum(transfer_sum_us) AS transfer_sum_us,
           sum(latency_histogram) AS latency_histogram
      FROM ({source}) AS part
     GROUP BY endpoint_id
)
SELECT endpoint_id, up::bigint, degraded::bigint, down::bigint, missed::bigint, measured_minutes::bigint,
       outage_minutes::bigint, incidents::bigint, begins_down, latencies::bigint, latency_sum_us::bigint, latency_max_us,
       dns_sum_us::bigint, connect_sum_us::bigint, tls_sum_us::bigint, ttfb_sum_us::bigint, transfer_sum_us::bigint,
       rtrim(replace(digits, '.', ''), '0'), length(digits), scale(latency_histogram)
  FROM (
           SELECT *, latency_histogram::text AS digits FROM total
           UNION ALL
           SELECT NULL, sum(up), sum(degraded) AS degraded, sum(down) AS down, sum(missed) AS missed,
                  sum(measured_minutes) AS measured_minutes, sum(outage_minutes) AS outage_minutes, sum(incidents) AS incidents,
                  bool_or(begins_down) AS begins_down, sum(latencies) AS latencies, sum(latency_sum_us) AS latency_sum_us,
                  max(latency_max_us) AS latency_max_us, sum(dns_sum_us) AS dns_sum_us, sum(connect_sum_us) AS connect_sum_us,
                  sum(tls_sum_us) AS tls_sum_us, sum(ttfb_sum_us) AS ttfb_sum_us, sum(transfer_sum_us) AS transfer_sum_us,
                  sum(latency_histogram),
                  sum(latency_histogram)::text
             FROM total
           HAVING count(*) > 0
           OFFSET 0
       ) AS line;

-- name: continued
-- How many incidents began in one part while they went on from the measured one before it.
SELECT endpoint_id, count(*)
  FROM (
           SELECT endpoint_id, begins_down, lag(ends_down) OVER (PARTITION BY endpoint_id ORDER BY time) AS before_down
             FROM ({source}) AS part
            WHERE measured_minutes > 0
       ) AS measured
 WHERE begins_down AND before_down
 GROUP BY endpoint_id;

-- name: series
SELECT endpoint_id, extract(epoch FROM time)::bigint, up + degraded, down FROM ({source}) AS part;
