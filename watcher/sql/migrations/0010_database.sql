-- Which database this is: the ids in it mean nothing in another that has its name. A dump takes it along, as it does the ids.
CREATE TABLE watcher_database (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    id     uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO watcher_database DEFAULT VALUES;

-- No secret, and agents need it that may write but for whom no `watcher db roles` was run.
GRANT SELECT ON watcher_database TO PUBLIC;
