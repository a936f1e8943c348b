-- The time series: one row a check. A hypertable where TimescaleDB is, else partitioned; the same columns either way.

CREATE TYPE check_status AS ENUM ('up', 'down', 'missed');
CREATE TYPE check_reason AS ENUM (
    'dns', 'connect', 'tls', 'certificate', 'timeout', 'closed', 'protocol', 'redirect', 'status', 'regex',
    'regex_timeout', 'body_cap', 'assertion', 'plugin', 'config', 'overload', 'suspended', 'agent_network'
);

CREATE TABLE metrics (
    time        timestamptz NOT NULL,
    endpoint_id bigint NOT NULL,
    agent_id    int NOT NULL,
    address     inet,
    status      check_status NOT NULL,
    reason      check_reason,
    http_status smallint,
    latency_us  int,
    dns_us      int,
    connect_us  int,
    tls_us      int,
    ttfb_us     int,
    transfer_us int,
    body_bytes  int,
    regex_found boolean,
    lag_us      int,
    late_us     int,
    detail      text
);

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN
        PERFORM create_hypertable('metrics', by_range('time', INTERVAL '1 day'), create_default_indexes => false);
    ELSE
        -- One partition a day (UTC), made ahead and dropped by `watcher.store.metrics.upkeep`. There is no DEFAULT
        -- partition: attaching a day would have to scan it under a lock that stops all writes.
        ALTER TABLE metrics RENAME TO metrics_columns;
        CREATE TABLE metrics (LIKE metrics_columns INCLUDING ALL) PARTITION BY RANGE (time);
        DROP TABLE metrics_columns;
    END IF;
END
$$;

-- Serves "the last results of this endpoint", and makes a batch that is sent twice change nothing.
CREATE UNIQUE INDEX metrics_endpoint_time ON metrics (endpoint_id, time DESC, agent_id);

-- After the index: TimescaleDB 2.13 makes none on a compressed table. Compression is not part of the Apache-licensed
-- edition. Rows that an outage delayed find an open chunk for two days; later ones are stored too, at a price.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')
       AND current_setting('timescaledb.license') = 'timescale' THEN
        ALTER TABLE metrics SET (
            timescaledb.compress,
            timescaledb.compress_segmentby = 'endpoint_id',
            timescaledb.compress_orderby = 'time DESC, agent_id'
        );
        PERFORM add_compression_policy('metrics', INTERVAL '2 days');
    END IF;
END
$$;
