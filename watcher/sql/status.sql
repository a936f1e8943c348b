-- What `watcher db status` says of the database, quick however large it is.

-- name: server
SELECT current_setting('server_version'), pg_database_size(current_database());

-- name: licence
-- TimescaleDB's edition, `timescale` or `apache`; null where it is not loaded.
SELECT current_setting('timescaledb.license', true);

-- name: partitions
-- The parts of the time series, oldest first, that hold anything. Nobody counts rows here: a count reads them all. The
-- planner's number lags behind, the statistics' one is lost by a crash; neither is above the truth by much.
SELECT part.oid::regclass::text, greatest(part.reltuples, pg_stat_get_live_tuples(part.oid), 0)::bigint,
       pg_total_relation_size(part.oid), pg_indexes_size(part.oid)
  FROM pg_inherits AS link
  JOIN pg_class AS part ON part.oid = link.inhrelid
 WHERE link.inhparent = 'metrics'::regclass
 ORDER BY part.relname;

-- name: chunks
SELECT format('%I.%I', chunk_schema, chunk_name)
  FROM timescaledb_information.chunks
 WHERE hypertable_name = 'metrics' AND hypertable_schema = (
           SELECT nspname FROM pg_class JOIN pg_namespace AS schema ON schema.oid = relnamespace
            WHERE pg_class.oid = 'metrics'::regclass
       )
 ORDER BY range_start;

-- name: hypertable
SELECT approximate_row_count('metrics'), coalesce(total_bytes, 0), coalesce(index_bytes, 0)
  FROM hypertable_detailed_size('metrics');

-- name: compressed
SELECT coalesce(number_compressed_chunks, 0), coalesce(before_compression_total_bytes, 0)::bigint,
       coalesce(after_compression_total_bytes, 0)::bigint
  FROM hypertable_compression_stats('metrics');

-- name: unmoved
-- Days that are still to be moved into the hypertable.
SELECT count(*) FROM pg_inherits WHERE inhparent = to_regclass('metrics_plain');

-- name: rollups
SELECT coalesce(sum(greatest(part.reltuples, pg_stat_get_live_tuples(part.oid), 0)), 0)::bigint,
       coalesce(sum(pg_total_relation_size(part.oid)), 0)::bigint, coalesce(sum(pg_indexes_size(part.oid)), 0)::bigint
  FROM pg_inherits AS link
  JOIN pg_class AS part ON part.oid = link.inhrelid
 WHERE link.inhparent IN ('metrics_minutes'::regclass, 'metrics_hours'::regclass, 'metrics_days'::regclass);

-- name: table
SELECT greatest(reltuples, pg_stat_get_live_tuples(oid), 0)::bigint, pg_total_relation_size(oid), pg_indexes_size(oid)
  FROM pg_class
 WHERE oid = to_regclass(%(name)s);

-- name: first_row
-- Rows lie about in the order of their times. The least time of all would take a look at every row: the index begins
-- with the endpoint.
SELECT extract(epoch FROM min(time))::float8 FROM (SELECT time FROM {part} LIMIT 10000) AS first;
