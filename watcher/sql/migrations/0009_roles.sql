-- What who writes results must be able to do though the tables are not theirs: functions that run as the owner. They are
-- for no one else until `watcher db roles` says for whom. Days and months are UTC's, as in the names of partitions.

-- Which roles `watcher db roles` made, so that later migrations give them what they need.
CREATE TABLE watcher_roles (
    kind text PRIMARY KEY CHECK (kind IN ('migrate', 'write', 'read')),
    name name NOT NULL
);

-- Makes the partition for a moment and gives its name.
CREATE FUNCTION watcher_add_partition(parent text, moment timestamptz) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    unit text := CASE WHEN parent IN ('metrics', 'metrics_minutes') THEN 'day'
                      WHEN parent IN ('metrics_hours', 'metrics_days') THEN 'month' END;
    first timestamp := date_trunc(unit, moment AT TIME ZONE 'UTC');
    part text := parent || '_' || to_char(first, CASE unit WHEN 'day' THEN 'YYYYMMDD' ELSE 'YYYYMM' END);
BEGIN
    IF part IS NULL THEN
        RAISE 'no table "%" is kept in partitions', parent USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- With its indexes, so that ATTACH finds all in place. No CHECK: it would spare the scan of a table that is empty here,
    -- and would then be evaluated for every row. ATTACH takes no more than SHARE UPDATE EXCLUSIVE on the parent.
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', part, parent);
    EXECUTE format(
        'ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, part,
        first AT TIME ZONE 'UTC', (first + ('1 ' || unit)::interval) AT TIME ZONE 'UTC'
    );
    RETURN part;
END
$$;

-- Drops a partition that ended a day ago or earlier; readers and writers wait for no longer than the lock's timeout.
CREATE FUNCTION watcher_drop_partition(part text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET lock_timeout = '5s' AS $$
DECLARE
    parts text[] := regexp_match(part, '^(metrics|metrics_minutes|metrics_hours|metrics_days)_(\d{4})(\d{2})(\d{2})?$');
    first timestamp := make_date(parts[2]::int, parts[3]::int, coalesce(parts[4], '1')::int);
    ends_at timestamptz := (first + CASE WHEN parts[4] IS NULL THEN INTERVAL '1 month' ELSE INTERVAL '1 day' END)
                           AT TIME ZONE 'UTC';
    known oid := to_regclass(format('%I', part));
BEGIN
    IF ends_at IS NULL OR ends_at > now() - INTERVAL '1 day' OR known IS NULL OR NOT (
        EXISTS (SELECT FROM pg_inherits WHERE inhrelid = known AND inhparent = to_regclass(parts[1]))
        OR obj_description(known, 'pg_class') IS NOT DISTINCT FROM 'watcher: expired'
    ) THEN
        RAISE '"%" is no part of the results that is over', part USING ERRCODE = 'invalid_parameter_value';
    END IF;
    EXECUTE format('DROP TABLE %I', part);
END
$$;

-- The same where TimescaleDB keeps the time series, in chunks.
CREATE FUNCTION watcher_drop_chunks(keep_days int) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET lock_timeout = '5s' AS $$
BEGIN
    RETURN QUERY EXECUTE format(
        'SELECT %s.drop_chunks(%L::regclass, older_than => $1)',
        (SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'timescaledb'), 'metrics'
    ) USING now() - make_interval(days => greatest(keep_days, 1));
END
$$;

REVOKE ALL ON FUNCTION watcher_add_partition(text, timestamptz), watcher_drop_partition(text), watcher_drop_chunks(int)
    FROM PUBLIC;

-- What runs as the owner must find nothing that its caller made, such as a temporary table.
DO $$
DECLARE
    found regprocedure;
BEGIN
    FOR found IN SELECT oid FROM pg_proc WHERE prosecdef AND pronamespace = current_schema()::regnamespace
                    AND proname LIKE 'watcher\_%'
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', found, current_schema());
    END LOOP;
END
$$;
