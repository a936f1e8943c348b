-- Who is watched (endpoints) and who measures (agents).

CREATE TABLE agents (
    id         int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    location   text NOT NULL,
    host       text NOT NULL,
    variant    text NOT NULL,
    version    text NOT NULL,
    clock      text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (host, location, variant)
);

CREATE TABLE endpoints (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL UNIQUE CHECK (name <> ''),
    url         text NOT NULL CHECK (url <> ''),
    interval_s  double precision NOT NULL DEFAULT 60 CHECK (interval_s BETWEEN 5 AND 300),
    timeout_s   double precision NOT NULL DEFAULT 10 CHECK (timeout_s > 0 AND timeout_s <= 300),
    options     jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(options) = 'object'),
    labels      jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(labels) = 'object'),
    locations   text[] NOT NULL DEFAULT '{}' CHECK (array_position(locations, NULL) IS NULL),
    enabled     boolean NOT NULL DEFAULT true,
    source      text NOT NULL DEFAULT 'sql',
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    removed_at  timestamptz,
    changed_xid xid8 NOT NULL DEFAULT pg_current_xact_id()
);

-- Workers ask for what changed since they last read: a change must be found by its transaction, since a row may
-- become visible long after the time that it carries.
CREATE INDEX endpoints_changed_xid ON endpoints (changed_xid);
CREATE INDEX endpoints_source ON endpoints (source);

CREATE FUNCTION watcher_endpoint_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    NEW.changed_xid := pg_current_xact_id();
    RETURN NEW;
END
$$;

-- Whoever writes the table, psql included, cannot forget to mark the row; an update that changes nothing marks nothing.
CREATE TRIGGER endpoints_updated BEFORE UPDATE ON endpoints
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION watcher_endpoint_changed();
CREATE TRIGGER endpoints_inserted BEFORE INSERT ON endpoints
    FOR EACH ROW EXECUTE FUNCTION watcher_endpoint_changed();

CREATE FUNCTION watcher_notify_endpoints() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('watcher_endpoints', CASE WHEN TG_OP IN ('DELETE', 'TRUNCATE') THEN 'deleted' ELSE 'changed' END);
    RETURN NULL;
END
$$;

-- One notice a statement. A row that is gone leaves no mark to find, so 'deleted' tells workers to read all anew.
CREATE TRIGGER endpoints_notify AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON endpoints
    FOR EACH STATEMENT EXECUTE FUNCTION watcher_notify_endpoints();
