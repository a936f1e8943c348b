-- Results summed up per minute, hour and day (UTC), so that a year is read in a second and outlives its rows.

-- Latencies fall into buckets, 16 to each doubling: bucket i holds those above 2^((i-1)/16) us, up to 2^(i/16). A
-- histogram is one number, 12 decimal digits a bucket, so the sum of the numbers is the histogram of all: PostgreSQL's own
-- sum() merges them, and numbers have no zeros at either end on disk. The point is after bucket 256 (66 ms), in the midst of what
-- there is, which keeps sums short. A trillion results of one bucket would overflow it.
-- Not STRICT, which would keep it from being inlined: the null of a null comes of itself.
CREATE FUNCTION watcher_histogram(latency_us int) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT (
           '1e' || (
               12 * (ceil(16 * ln(CASE WHEN latency_us < 1 THEN 1 ELSE latency_us END::float8) / ln(2::float8))::int - 256)
           )::text
       )::numeric
$$;

CREATE FUNCTION watcher_buckets(histogram numeric)
RETURNS TABLE (bucket int, above_us double precision, to_us double precision, count bigint)
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
SELECT bucket,
       CASE WHEN bucket = 0 THEN 0 ELSE power(2::float8, (bucket - 1) / 16.0::float8) END,
       power(2::float8, bucket / 16.0::float8),
       count
  FROM (SELECT ltrim(replace(histogram::text, '.', ''), '0') AS digits) AS number
 CROSS JOIN LATERAL generate_series(
           (length(digits) - length(rtrim(digits, '0'))) / 12, (length(digits) - 1) / 12
       ) AS place
 CROSS JOIN LATERAL (
           SELECT 256 - scale(histogram) / 12 + place AS bucket,
                  right(substr(digits, 1, length(digits) - 12 * place), 12)::bigint AS count
       ) AS counted
 WHERE count > 0
$$;

-- By nearest rank: the middle of the bucket that holds the result of that rank, at most 2.2 % from it (2^(1/32)).
CREATE FUNCTION watcher_percentile(histogram numeric, fraction double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
SELECT power(2::float8, (bucket - 0.5::float8) / 16)
  FROM (
           SELECT bucket, sum(count) OVER (ORDER BY bucket) AS seen, sum(count) OVER () AS total
             FROM watcher_buckets(histogram)
       ) AS ranked
 WHERE seen >= greatest(1, ceil(fraction::numeric * total))
 ORDER BY bucket
 LIMIT 1
$$;

-- Latencies and phases are those of checks that were answered as was asked for, if perhaps slowly: up and degraded.
CREATE TABLE metrics_days (
    time              timestamptz NOT NULL,
    endpoint_id       bigint NOT NULL,
    up                int NOT NULL,
    degraded          int NOT NULL,
    down              int NOT NULL,
    missed            int NOT NULL,
    measured_minutes  int NOT NULL,
    outage_minutes    int NOT NULL,
    incidents         int NOT NULL,
    begins_down       boolean,
    ends_down         boolean,
    latencies         int NOT NULL,
    latency_sum_us    bigint,
    latency_max_us    int,
    dns_sum_us        bigint,
    connect_sum_us    bigint,
    tls_sum_us        bigint,
    ttfb_sum_us       bigint,
    transfer_sum_us   bigint,
    latency_histogram numeric,
    PRIMARY KEY (endpoint_id, time)
) PARTITION BY RANGE (time);
CREATE INDEX metrics_days_time ON metrics_days USING brin (time) WITH (pages_per_range = 32, autosummarize = on);
CREATE TABLE metrics_hours (LIKE metrics_days INCLUDING ALL) PARTITION BY RANGE (time);
CREATE TABLE metrics_minutes (LIKE metrics_days INCLUDING ALL) PARTITION BY RANGE (time);

-- How far results are summed up: every row of a minute before minutes_to is in metrics_minutes, of a minute before
-- hours_to in metrics_hours and metrics_days, but for those that metrics_late tells of. seen_at and seen_xid are a
-- moment, and a transaction of it: once all that are older have ended, no row can come up to it that is not late.
CREATE TABLE rollup_progress (
    single     boolean PRIMARY KEY DEFAULT true CHECK (single),
    minutes_to timestamptz,
    hours_to   timestamptz,
    seen_at    timestamptz,
    seen_xid   xid8
);
INSERT INTO rollup_progress DEFAULT VALUES;

-- Minutes that got results after they may have been summed up; one may stand here many times.
CREATE TABLE metrics_late (
    minute timestamptz NOT NULL
);

-- As the owner: who may write metrics needs no right to metrics_late. The setting lasts for the transaction, so results that
-- are late together leave few marks.
CREATE FUNCTION watcher_metrics_late() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    late_minute timestamptz := date_trunc('minute', NEW.time, 'UTC');
BEGIN
    IF current_setting('watcher.late_minute', true) IS DISTINCT FROM extract(epoch FROM late_minute)::text THEN
        INSERT INTO metrics_late VALUES (late_minute);
        PERFORM set_config('watcher.late_minute', extract(epoch FROM late_minute)::text, true);
    END IF;
    RETURN NULL;
END
$$;

-- The clock is read after the row's transaction has its number: who waits for all numbers up to a moment has all rows
-- that found themselves in time before it. 2 minutes: watcher.store.rollups.SETTLE_S.
CREATE TRIGGER metrics_late AFTER INSERT ON metrics
    FOR EACH ROW WHEN (NEW.time < clock_timestamp() - INTERVAL '2 minutes') EXECUTE FUNCTION watcher_metrics_late();

-- Finds the rows of some minutes in a day. Days that are there already are read whole, once, and need none.
DO $$
DECLARE
    part regclass;
BEGIN
    IF EXISTS (SELECT FROM pg_partitioned_table WHERE partrelid = 'metrics'::regclass) THEN
        CREATE INDEX metrics_time ON ONLY metrics USING brin (time) WITH (pages_per_range = 32, autosummarize = on);
        FOR part IN
            SELECT inhrelid::regclass FROM pg_inherits
             WHERE inhparent = 'metrics'::regclass
               AND inhrelid::regclass::text >= 'metrics_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')
        LOOP
            EXECUTE format('CREATE INDEX ON %s USING brin (time) WITH (pages_per_range = 32, autosummarize = on)', part);
        END LOOP;
    ELSE
        CREATE INDEX metrics_time ON metrics USING brin (time) WITH (pages_per_range = 32, autosummarize = on);
    END IF;
END
$$;

-- Checks of a time, summed up per minute. Of the rows of one check (an address each) the last stands for it: endpoint_checks.
CREATE FUNCTION watcher_minutes(since timestamptz, until timestamptz) RETURNS SETOF metrics_minutes
LANGUAGE sql STABLE PARALLEL SAFE AS $$
SELECT date_trunc('minute', time),
       endpoint_id,
       (count(*) FILTER (WHERE status = 'up'))::int,
       (count(*) FILTER (WHERE status = 'degraded'))::int,
       (count(*) FILTER (WHERE status = 'down'))::int,
       (count(*) FILTER (WHERE status = 'missed'))::int,
       bool_or(status <> 'missed')::int,
       bool_or(status = 'down')::int,
       bool_or(status = 'down')::int,
       CASE WHEN bool_or(status <> 'missed') THEN bool_or(status = 'down') END,
       CASE WHEN bool_or(status <> 'missed') THEN bool_or(status = 'down') END,
       (count(latency_us) FILTER (WHERE status IN ('up', 'degraded')))::int,
       sum(latency_us) FILTER (WHERE status IN ('up', 'degraded')),
       max(latency_us) FILTER (WHERE status IN ('up', 'degraded')),
       sum(dns_us) FILTER (WHERE status IN ('up', 'degraded')),
       sum(connect_us) FILTER (WHERE status IN ('up', 'degraded')),
       sum(tls_us) FILTER (WHERE status IN ('up', 'degraded')),
       sum(ttfb_us) FILTER (WHERE status IN ('up', 'degraded')),
       sum(transfer_us) FILTER (WHERE status IN ('up', 'degraded')),
       sum(watcher_histogram(latency_us)) FILTER (WHERE status IN ('up', 'degraded'))
  FROM (
           SELECT metrics.*, lead(time) OVER (PARTITION BY endpoint_id, agent_id ORDER BY time) AS next
             FROM metrics
            WHERE time >= since AND time <= until + INTERVAL '64 microseconds'
       ) AS result
 WHERE time < until AND (next IS NULL OR next > time + INTERVAL '64 microseconds')
 GROUP BY 1, 2
$$;

-- For psql and Grafana. Availability counts up and degraded as available, down as not, and missed as neither; it is
-- null where nothing was measured. A percentile costs nothing in a query that does not name it.
CREATE VIEW availability_daily AS
SELECT rollup.time,
       rollup.endpoint_id,
       endpoints.name,
       endpoints.url,
       endpoints.labels,
       rollup.up,
       rollup.degraded,
       rollup.down,
       rollup.missed,
       (up + degraded)::float8 / nullif(up + degraded + down, 0) AS availability,
       rollup.measured_minutes,
       rollup.outage_minutes,
       rollup.incidents,
       rollup.latency_sum_us::float8 / nullif(latencies, 0) AS latency_mean_us,
       watcher_percentile(latency_histogram, 0.5) AS latency_p50_us,
       watcher_percentile(latency_histogram, 0.95) AS latency_p95_us,
       watcher_percentile(latency_histogram, 0.99) AS latency_p99_us,
       rollup.latency_max_us,
       coalesce(dns_sum_us, 0)::float8 / nullif(latencies, 0) AS dns_mean_us,
       coalesce(connect_sum_us, 0)::float8 / nullif(latencies, 0) AS connect_mean_us,
       coalesce(tls_sum_us, 0)::float8 / nullif(latencies, 0) AS tls_mean_us,
       coalesce(ttfb_sum_us, 0)::float8 / nullif(latencies, 0) AS ttfb_mean_us,
       coalesce(transfer_sum_us, 0)::float8 / nullif(latencies, 0) AS transfer_mean_us,
       rollup.latencies,
       rollup.latency_histogram
  FROM metrics_days AS rollup
  LEFT JOIN endpoints ON endpoints.id = rollup.endpoint_id;

CREATE VIEW availability_hourly AS
SELECT rollup.time,
       rollup.endpoint_id,
       endpoints.name,
       endpoints.url,
       endpoints.labels,
       rollup.up,
       rollup.degraded,
       rollup.down,
       rollup.missed,
       (up + degraded)::float8 / nullif(up + degraded + down, 0) AS availability,
       rollup.measured_minutes,
       rollup.outage_minutes,
       rollup.incidents,
       rollup.latency_sum_us::float8 / nullif(latencies, 0) AS latency_mean_us,
       watcher_percentile(latency_histogram, 0.5) AS latency_p50_us,
       watcher_percentile(latency_histogram, 0.95) AS latency_p95_us,
       watcher_percentile(latency_histogram, 0.99) AS latency_p99_us,
       rollup.latency_max_us,
       coalesce(dns_sum_us, 0)::float8 / nullif(latencies, 0) AS dns_mean_us,
       coalesce(connect_sum_us, 0)::float8 / nullif(latencies, 0) AS connect_mean_us,
       coalesce(tls_sum_us, 0)::float8 / nullif(latencies, 0) AS tls_mean_us,
       coalesce(ttfb_sum_us, 0)::float8 / nullif(latencies, 0) AS ttfb_mean_us,
       coalesce(transfer_sum_us, 0)::float8 / nullif(latencies, 0) AS transfer_mean_us,
       rollup.latencies,
       rollup.latency_histogram
  FROM metrics_hours AS rollup
  LEFT JOIN endpoints ON endpoints.id = rollup.endpoint_id;

CREATE VIEW availability_minutely AS
SELECT rollup.time,
       rollup.endpoint_id,
       endpoints.name,
       endpoints.url,
       endpoints.labels,
       rollup.up,
       rollup.degraded,
       rollup.down,
       rollup.missed,
       (up + degraded)::float8 / nullif(up + degraded + down, 0) AS availability,
       rollup.measured_minutes,
       rollup.outage_minutes,
       rollup.incidents,
       rollup.latency_sum_us::float8 / nullif(latencies, 0) AS latency_mean_us,
       watcher_percentile(latency_histogram, 0.5) AS latency_p50_us,
       watcher_percentile(latency_histogram, 0.95) AS latency_p95_us,
       watcher_percentile(latency_histogram, 0.99) AS latency_p99_us,
       rollup.latency_max_us,
       coalesce(dns_sum_us, 0)::float8 / nullif(latencies, 0) AS dns_mean_us,
       coalesce(connect_sum_us, 0)::float8 / nullif(latencies, 0) AS connect_mean_us,
       coalesce(tls_sum_us, 0)::float8 / nullif(latencies, 0) AS tls_mean_us,
       coalesce(ttfb_sum_us, 0)::float8 / nullif(latencies, 0) AS ttfb_mean_us,
       coalesce(transfer_sum_us, 0)::float8 / nullif(latencies, 0) AS transfer_mean_us,
       rollup.latencies,
       rollup.latency_histogram
  FROM metrics_minutes AS rollup
  LEFT JOIN endpoints ON endpoints.id = rollup.endpoint_id;
