-- What `watcher status` says: how endpoints and agents are now.

-- name: endpoints
-- Who is down comes first. A missed check says nothing of the site, so the one before it speaks, unless
-- it cannot be checked as it is (config). `since` is the first check after the last one of another kind, at most seven days
-- back; of what is up nobody asks since when. That one is looked for among what is not summed up by the hour yet,
-- and in the last hour that has one: to walk through the results of a long outage takes minutes.
SELECT last.name, found.status, first.time, found.reason, found.detail, last.time, last.location, last.host, last.labels
  FROM endpoint_status AS last
 CROSS JOIN rollup_progress AS progress
  LEFT JOIN LATERAL (
           SELECT judged.status, judged.reason, judged.detail
             FROM endpoint_checks AS judged
            WHERE last.status = 'missed' AND last.reason IS DISTINCT FROM 'config' AND judged.endpoint_id = last.endpoint_id
              AND judged.status <> 'missed' AND judged.time > now() - interval '7 days'
            ORDER BY judged.time DESC
            LIMIT 1
       ) AS judged ON true
 CROSS JOIN LATERAL (
           SELECT coalesce(judged.status, last.status) AS status,
                  CASE WHEN judged.status IS NULL THEN last.reason ELSE judged.reason END AS reason,
                  CASE WHEN judged.status IS NULL THEN last.detail ELSE judged.detail END AS detail
       ) AS found
  LEFT JOIN LATERAL (
           SELECT hour.time
             FROM metrics_hours AS hour
            WHERE found.status IN ('down', 'degraded') AND hour.endpoint_id = last.endpoint_id
              AND hour.time > now() - interval '7 days'
              AND hour.up + hour.degraded + hour.down > CASE found.status WHEN 'down' THEN hour.down ELSE hour.degraded END
            ORDER BY hour.time DESC
            LIMIT 1
       ) AS hour ON true
 CROSS JOIN LATERAL (
           SELECT coalesce(max(other.time), hour.time) AS time
             FROM (
                      VALUES (greatest(progress.hours_to, now() - interval '7 days'), 'infinity'),
                             (hour.time, hour.time + interval '1 hour')
                  ) AS span (since, until)
            CROSS JOIN LATERAL (
                      SELECT checks.time
                        FROM endpoint_checks AS checks
                       WHERE found.status IN ('down', 'degraded') AND checks.endpoint_id = last.endpoint_id
                         AND checks.status NOT IN (found.status, 'missed')
                         AND checks.time >= span.since AND checks.time < span.until
                       ORDER BY checks.time DESC
                       LIMIT 1
                  ) AS other
       ) AS other
  LEFT JOIN LATERAL (
           SELECT same.time
             FROM endpoint_checks AS same
            WHERE found.status IN ('down', 'degraded') AND same.endpoint_id = last.endpoint_id
              AND same.status = found.status AND same.time > coalesce(other.time, now() - interval '7 days')
            ORDER BY same.time
            LIMIT 1
       ) AS first ON true
 WHERE last.labels @> %(labels)s::jsonb
 ORDER BY array_position(ARRAY['down', 'degraded', 'missed', NULL, 'up'], found.status::text), first.time, last.name;

-- name: agents
-- Those that were there in the last seven days; each says once a minute that it is alive and how well it measures.
SELECT agents.location, agents.host, agents.variant, agents.version, agents.seen_at,
       agents.seen_at < now() - interval '3 minutes',
       coalesce(health.shed > 0, false), coalesce(health.suspect, false)
  FROM agents
  LEFT JOIN LATERAL (
           SELECT sum(shed) AS shed, bool_or(suspect) AS suspect
             FROM agent_health
            WHERE agent_id = agents.id AND time > now() - interval '3 minutes'
       ) AS health ON true
 WHERE agents.seen_at > now() - interval '7 days'
 ORDER BY agents.location, agents.host, agents.variant;
