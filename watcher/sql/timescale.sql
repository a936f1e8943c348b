-- From daily partitions to a hypertable: `watcher db migrate --to-timescale`. Names are of this database, so statements
-- are put together of these.

-- name: try_lock
-- The session's: the days are moved in transactions of their own. 5 of watcher's space of locks (sql/schema.sql).
SELECT pg_try_advisory_lock(1463899203, 5);

-- name: state
-- Whether metrics is partitioned, and whether metrics_plain holds days that were not moved yet.
SELECT EXISTS (SELECT FROM pg_partitioned_table WHERE partrelid = to_regclass('metrics')),
       EXISTS (SELECT FROM pg_partitioned_table WHERE partrelid = to_regclass('metrics_plain'));

-- name: timescaledb
-- The version that is enabled here, the one that the server could enable, whether it is loaded, and its edition.
SELECT (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),
       (SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb'),
       coalesce((SELECT setting LIKE '%timescaledb%' FROM pg_settings WHERE name = 'shared_preload_libraries'), true),
       current_setting('timescaledb.license', true);

-- name: unmovable
-- What reads metrics and cannot be led over to another table: anything but a view.
SELECT DISTINCT class.oid::regclass::text
  FROM pg_depend AS link
  JOIN pg_rewrite AS rule ON rule.oid = link.objid AND link.classid = 'pg_rewrite'::regclass
  JOIN pg_class AS class ON class.oid = rule.ev_class
 WHERE link.refclassid = 'pg_class'::regclass AND class.relkind <> 'v'
   AND (
           link.refobjid = 'metrics'::regclass
           OR link.refobjid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'metrics'::regclass)
       )
 UNION
SELECT conrelid::regclass::text FROM pg_constraint WHERE contype = 'f' AND confrelid = 'metrics'::regclass
 ORDER BY 1;

-- name: views
-- The views over metrics, as they are to be made again over the table that takes its name.
SELECT DISTINCT class.oid::regclass::text, pg_get_viewdef(class.oid),
       coalesce('WITH (' || array_to_string(class.reloptions, ', ') || ')', ''), class.oid
  FROM pg_depend AS link
  JOIN pg_rewrite AS rule ON rule.oid = link.objid AND link.classid = 'pg_rewrite'::regclass
  JOIN pg_class AS class ON class.oid = rule.ev_class
 WHERE link.refclassid = 'pg_class'::regclass AND class.relkind = 'v' AND link.refobjid = 'metrics'::regclass
 ORDER BY class.oid;

-- name: replace_view
CREATE OR REPLACE VIEW {view} {options} AS {definition};

-- name: indexes
SELECT class.relname, replace(pg_get_indexdef(class.oid), ' ON ONLY ', ' ON ')
  FROM pg_index AS index
  JOIN pg_class AS class ON class.oid = index.indexrelid
 WHERE index.indrelid = 'metrics'::regclass
 ORDER BY index.indisunique DESC, class.relname;

-- name: triggers
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'metrics'::regclass AND NOT tgisinternal ORDER BY tgname;

-- name: grants
SELECT CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
       privilege_type, is_grantable
  FROM pg_class, aclexplode(relacl)
 WHERE oid = 'metrics'::regclass AND grantee <> relowner;

-- name: lock
-- Whoever writes waits for this transaction, and then finds the hypertable under the name.
SET LOCAL lock_timeout = '15s';
LOCK TABLE metrics IN ACCESS EXCLUSIVE MODE;

-- name: rename
ALTER TABLE metrics RENAME TO metrics_plain;

-- name: rename_index
ALTER INDEX {index} RENAME TO {renamed};

-- name: hypertable
-- As sql/migrations/0002 makes it.
CREATE TABLE metrics (LIKE metrics_plain INCLUDING ALL EXCLUDING INDEXES);
SELECT create_hypertable('metrics', by_range('time', INTERVAL '1 day'), create_default_indexes => false);

-- name: be_ourselves
SELECT set_config('role', 'none', true);

-- name: owner
SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'metrics'::regclass;

-- name: own
ALTER TABLE metrics OWNER TO {owner};

-- name: grant
GRANT {privilege} ON metrics TO {grantee} {option};

-- name: compress
ALTER TABLE metrics SET (
    timescaledb.compress,
    timescaledb.compress_segmentby = 'endpoint_id',
    timescaledb.compress_orderby = 'time DESC, agent_id'
);
SELECT add_compression_policy('metrics', INTERVAL '2 days');

-- name: note
-- Up to where everything that was stored had been summed up when days began to be moved.
DO $$
BEGIN
    EXECUTE format('COMMENT ON TABLE metrics_plain IS %L', (
        SELECT 'watcher: summed up to '
               || coalesce(extract(epoch FROM least(minutes_to, (SELECT min(minute) FROM metrics_late))), 0)
          FROM rollup_progress
    ));
END
$$;

-- name: days
-- The partitions to move, the newest first: what is looked at most is back soonest.
SELECT class.relname, (regexp_match(class.relname, '(\d{8})$'))[1]::date
  FROM pg_inherits AS link
  JOIN pg_class AS class ON class.oid = link.inhrelid
 WHERE link.inhparent = 'metrics_plain'::regclass
 ORDER BY 2 DESC NULLS FIRST;

-- name: columns
SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
 WHERE attrelid = 'metrics_plain'::regclass AND attnum > 0 AND NOT attisdropped;

-- name: hold_rollups
-- Nothing is summed up while a day is half here and half there.
SELECT pg_advisory_xact_lock(1463899203, 4);

-- name: has_late
-- Whether results of a day came while it was not moved yet: they were summed up without the others, or not at all.
SELECT EXISTS (SELECT FROM metrics WHERE time >= %(since)s AND time < %(until)s);

-- name: move
INSERT INTO metrics ({columns}) SELECT {columns} FROM {partition} ON CONFLICT DO NOTHING;

-- name: unmark
-- The marks of this transaction (the trigger takes what is moved for late) where the sums that there are hold good.
DELETE FROM metrics_late
 WHERE xmin = pg_current_xact_id()::xid
   AND minute < to_timestamp(substring(obj_description('metrics_plain'::regclass, 'pg_class') FROM '[0-9.]+$')::float8);

-- name: drop
DROP TABLE {partition};

-- name: analyze
-- Or the planner, and who asks for the number of rows, would know of none for a while.
ANALYZE metrics;

-- name: uncompressed
-- Chunks that the policy would compress later.
SELECT format('%I.%I', chunk_schema, chunk_name)
  FROM timescaledb_information.chunks
 WHERE hypertable_name = 'metrics' AND NOT is_compressed AND range_end < now() - INTERVAL '2 days'
   AND hypertable_schema = current_schema()
 ORDER BY range_start;

-- name: compress_chunk
SELECT compress_chunk(%(chunk)s::regclass, if_not_compressed => true);
