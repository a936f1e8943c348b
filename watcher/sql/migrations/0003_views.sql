-- For psql and Grafana.

-- The last result of each enabled endpoint, whoever measured it: one probe of the index an endpoint, however long the
-- history. An endpoint that was never checked has a row with nulls.
CREATE VIEW endpoint_status AS
SELECT endpoints.id AS endpoint_id,
       endpoints.name,
       endpoints.url,
       endpoints.labels,
       last.time,
       last.status,
       last.reason,
       last.http_status,
       last.latency_us,
       last.detail,
       agents.location,
       agents.host
  FROM endpoints
  LEFT JOIN LATERAL (
           SELECT metrics.time, metrics.agent_id, metrics.status, metrics.reason, metrics.http_status,
                  metrics.latency_us, metrics.detail
             FROM metrics
            WHERE metrics.endpoint_id = endpoints.id
            ORDER BY metrics.time DESC
            LIMIT 1
       ) AS last ON true
  LEFT JOIN agents ON agents.id = last.agent_id
 WHERE endpoints.enabled AND endpoints.removed_at IS NULL;

-- metrics with the names in place of the ids; the name is null where the endpoint was deleted for good.
CREATE VIEW metrics_named AS
SELECT metrics.time,
       endpoints.name,
       endpoints.url,
       endpoints.labels,
       agents.location,
       agents.host,
       agents.variant,
       metrics.endpoint_id,
       metrics.agent_id,
       metrics.address,
       metrics.status,
       metrics.reason,
       metrics.http_status,
       metrics.latency_us,
       metrics.dns_us,
       metrics.connect_us,
       metrics.tls_us,
       metrics.ttfb_us,
       metrics.transfer_us,
       metrics.body_bytes,
       metrics.regex_found,
       metrics.lag_us,
       metrics.late_us,
       metrics.detail
  FROM metrics
  LEFT JOIN endpoints ON endpoints.id = metrics.endpoint_id
  LEFT JOIN agents ON agents.id = metrics.agent_id;
