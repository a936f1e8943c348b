-- Where the endpoints that are watched come from.

-- name: counts
SELECT source, count(*) FROM endpoints WHERE enabled AND removed_at IS NULL GROUP BY source ORDER BY source;
