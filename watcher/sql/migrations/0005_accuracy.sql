-- What is checked first when a worker has too much to do, and how well each worker measures.
ALTER TABLE endpoints ADD COLUMN priority smallint NOT NULL DEFAULT 0;

-- One row a minute and worker: few, so neither partitioned nor a hypertable; `watcher.store.agents.forget` deletes them.
CREATE TABLE agent_health (
    time          timestamptz NOT NULL,
    agent_id      int NOT NULL,
    worker        smallint NOT NULL,
    checks        int NOT NULL,
    missed        int NOT NULL,
    shed          int NOT NULL,
    lag_p99_us    int NOT NULL,
    late_p99_us   int NOT NULL,
    canary_checks int NOT NULL,
    error_p50_us  int,
    error_max_us  int,
    suspect       boolean NOT NULL,
    PRIMARY KEY (time, agent_id, worker)
);
