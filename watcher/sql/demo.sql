-- What `watcher demo` shows of the database at its end.

-- name: verdicts
-- How many checks ended how, and how long the sites took.
SELECT metrics.status::text, coalesce(metrics.reason::text, ''), count(*),
       coalesce(round(percentile_cont(0.5) WITHIN GROUP (ORDER BY latency_us)::numeric / 1000, 1)::text, ''),
       coalesce(round(max(late_us)::numeric / 1000, 1)::text, '')
  FROM metrics
 GROUP BY metrics.status, metrics.reason
 ORDER BY metrics.status, count(*) DESC;

-- name: latest
-- The last result of some endpoints, those that are not up first.
SELECT to_char(time, 'HH24:MI:SS.MS'), name, status::text, coalesce(reason::text, ''), coalesce(http_status::text, ''),
       coalesce(round(latency_us / 1000.0, 2)::text, ''), coalesce(detail, '')
  FROM (SELECT DISTINCT ON (endpoint_id) * FROM metrics ORDER BY endpoint_id, time DESC) AS last
  JOIN endpoints ON endpoints.id = last.endpoint_id
 ORDER BY status = 'up', name
 LIMIT %(count)s;
