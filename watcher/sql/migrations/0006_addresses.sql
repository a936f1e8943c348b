-- One row a check. With the option `addresses` a check has a row an address; their times are a microsecond apart, at
-- most 64 in all, and the last stands for the endpoint. The shortest interval is 5 s: nothing else comes that close.
CREATE VIEW endpoint_checks AS
SELECT metrics_named.*
  FROM metrics_named
 WHERE NOT EXISTS (
           SELECT FROM metrics AS later
            WHERE later.endpoint_id = metrics_named.endpoint_id
              AND later.agent_id = metrics_named.agent_id
              AND later.time > metrics_named.time
              AND later.time <= metrics_named.time + interval '64 microseconds'
       );
