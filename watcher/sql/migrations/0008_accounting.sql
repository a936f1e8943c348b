-- Where a worker's results went. Null in rows of agents that did not tell yet.
ALTER TABLE agent_health
    ADD COLUMN produced int,
    ADD COLUMN stored   int,
    ADD COLUMN damaged  int,
    ADD COLUMN dropped  int,
    ADD COLUMN spooled  int;
