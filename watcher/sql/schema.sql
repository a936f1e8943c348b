-- The state of the schema: migrations and how the time series is kept.

-- name: lock_schema
-- One migration at a time; given back at the end of the transaction. 1463899203 ("WATC") is watcher's space of locks:
-- 1 migrations, 2 partitions, 3 sync of endpoints, 4 rollups, 5 moving results into a hypertable.
SELECT pg_advisory_xact_lock(1463899203, 1);

-- name: create_migrations
-- Not schema_migrations: several web frameworks call theirs so, and a database may be shared.
CREATE TABLE IF NOT EXISTS watcher_migrations (
    level      int PRIMARY KEY,
    name       text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- name: has_migrations
-- Not to_regclass: within a transaction that waited for the lock it may answer from a cache that is out of date.
SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'watcher_migrations' AND pg_table_is_visible(oid));

-- name: level
SELECT coalesce(max(level), 0) FROM watcher_migrations;

-- name: add_migration
INSERT INTO watcher_migrations (level, name) VALUES (%(level)s, %(name)s);

-- name: identity
-- No row where a backup is being restored that has not come that far.
SELECT id::text FROM watcher_database;

-- name: storage
-- How metrics is kept. What was chosen at first stays, whatever is installed later.
SELECT CASE
           WHEN EXISTS (SELECT FROM pg_partitioned_table WHERE partrelid = to_regclass('metrics')) THEN 'partitions'
           ELSE 'hypertable'
       END;

-- name: timescaledb
-- The version that is enabled in this database and the one that the server could enable; null where there is none.
SELECT (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),
       (SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb');

-- name: enable_timescaledb
CREATE EXTENSION IF NOT EXISTS timescaledb;

-- name: owner
-- Whose the schema is, and whether we may act as such.
SELECT owner.rolname, owner.rolname = current_user, pg_has_role(owner.oid, 'MEMBER'), current_user
  FROM pg_class AS migrations
  JOIN pg_roles AS owner ON owner.oid = migrations.relowner
 WHERE migrations.oid = to_regclass('watcher_migrations');

-- name: become
-- For a transaction: what a migration makes is the owner's, whoever runs it.
SELECT set_config('role', %(owner)s, true);

-- name: may_adopt
SELECT has_table_privilege('endpoints', 'UPDATE');

-- name: adopt_endpoints
-- A restored dump brings transaction numbers of another server; those in the future would count as changed at each read.
UPDATE endpoints SET changed_xid = pg_current_xact_id()
 WHERE changed_xid >= pg_snapshot_xmax(pg_current_snapshot());

-- name: limit_idle
-- Of the session: nobody goes on with a transaction whose client was cut off.
SELECT set_config('idle_in_transaction_session_timeout', %(limit)s, false);
