-- Roles: who may migrate, write and read. Names are of the user's choice, so statements are put together of these.

-- name: found
-- Those of these roles that are there: all that they may is what we grant, so none may be more than a role.
SELECT rolname, rolsuper OR rolcreaterole OR rolbypassrls OR rolreplication FROM pg_roles WHERE rolname = ANY (%(names)s);

-- name: here
-- Where watcher is, whose it is, and who asks.
SELECT nspname, owner.rolname, owner.rolsuper, session.rolname, current_database(), pg_is_in_recovery()
  FROM pg_class AS migrations
  JOIN pg_namespace AS schema ON schema.oid = migrations.relnamespace
  JOIN pg_roles AS owner ON owner.oid = migrations.relowner
  JOIN pg_roles AS session ON session.rolname = current_user
 WHERE migrations.oid = to_regclass('watcher_migrations');

-- name: is_member
SELECT pg_has_role(%(role)s::name, %(of)s::name, 'MEMBER');

-- name: relations
-- Our tables and views, the parts of those that are partitioned, and whose they are.
SELECT relation.relname, relation.relkind = 'v', owner.rolname
  FROM pg_class AS relation
  JOIN pg_roles AS owner ON owner.oid = relation.relowner
 WHERE relation.relnamespace = %(schema)s::regnamespace
   AND (
           relation.relname = ANY (%(known)s)
           OR EXISTS (
               SELECT FROM pg_inherits
                WHERE inhrelid = relation.oid
                  AND inhparent IN (SELECT oid FROM pg_class WHERE relname = ANY (%(known)s) AND relnamespace = relation.relnamespace)
           )
       )
 ORDER BY relation.relname;

-- name: functions
SELECT function.oid::regprocedure::text, owner.rolname
  FROM pg_proc AS function
  JOIN pg_roles AS owner ON owner.oid = function.proowner
 WHERE function.pronamespace = %(schema)s::regnamespace AND function.proname LIKE 'watcher\_%%'
 ORDER BY 1;

-- name: types
SELECT type.typname, owner.rolname
  FROM pg_type AS type
  JOIN pg_roles AS owner ON owner.oid = type.typowner
 WHERE type.typnamespace = %(schema)s::regnamespace AND type.typname IN ('check_status', 'check_reason')
 ORDER BY 1;

-- name: columns
SELECT attname FROM pg_attribute
 WHERE attrelid = %(table)s::regclass AND attnum > 0 AND NOT attisdropped
 ORDER BY attnum;

-- name: rights
-- All that is granted here, to compare.
SELECT 'relation', oid::text, (aclexplode(relacl)).*, '' FROM pg_class WHERE relnamespace = %(schema)s::regnamespace
UNION ALL
SELECT 'owner', oid::text, relowner, 0, '', false, '' FROM pg_class WHERE relnamespace = %(schema)s::regnamespace
UNION ALL
SELECT 'column', attrelid::text, (aclexplode(attacl)).*, attname FROM pg_attribute
 WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = %(schema)s::regnamespace)
UNION ALL
SELECT 'function', oid::text, (aclexplode(proacl)).*, proowner::text FROM pg_proc WHERE pronamespace = %(schema)s::regnamespace
UNION ALL
SELECT 'schema', oid::text, (aclexplode(nspacl)).*, '' FROM pg_namespace WHERE oid = %(schema)s::regnamespace
UNION ALL
SELECT 'database', oid::text, (aclexplode(datacl)).*, '' FROM pg_database WHERE datname = current_database()
UNION ALL
SELECT 'default', oid::text, (aclexplode(defaclacl)).*, '' FROM pg_default_acl
UNION ALL
SELECT 'member', roleid::text, member, 0, '', admin_option, '' FROM pg_auth_members
UNION ALL
SELECT 'named', kind, 0, 0, name, false, '' FROM watcher_roles;

-- name: known
-- The roles that were made here and are there still: a dump may have come to a server without them.
SELECT kind, name FROM watcher_roles WHERE EXISTS (SELECT FROM pg_roles WHERE rolname = name);

-- name: create
CREATE ROLE {role} NOLOGIN;

-- name: join
GRANT {migrate} TO {role};

-- name: schema
GRANT USAGE ON SCHEMA {schema} TO {migrate}, {write}, {read};

-- name: schema_create
GRANT CREATE ON SCHEMA {schema} TO {migrate};

-- name: schema_closed
-- As PostgreSQL 15 and later have it from the start: nobody shall put a function or table in our way.
REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC, {write}, {read};

-- name: database
GRANT CONNECT ON DATABASE {database} TO {migrate}, {write}, {read};

-- name: temporary
-- A sync puts what is wanted into a temporary table first.
GRANT TEMPORARY ON DATABASE {database} TO {migrate}, {write};

-- name: own_table
ALTER TABLE {schema}.{relation} OWNER TO {migrate};

-- name: own_view
ALTER VIEW {schema}.{relation} OWNER TO {migrate};

-- name: own_function
ALTER FUNCTION {function} OWNER TO {migrate};

-- name: own_type
ALTER TYPE {schema}.{type} OWNER TO {migrate};

-- name: revoke
REVOKE ALL ON {relations} FROM {write}, {read};

-- name: grant_read
GRANT SELECT ON {relations} TO {write}, {read};

-- name: grant_columns
GRANT SELECT ({columns}) ON {relation} TO {read};

-- name: grant_write
GRANT {rights} ON {relation} TO {write};

-- name: execute
GRANT EXECUTE ON FUNCTION {functions} TO {write};

-- name: default
-- For the parts of tables that are made later, and for what later versions bring: to be looked at, no more.
ALTER DEFAULT PRIVILEGES FOR ROLE {migrate} IN SCHEMA {schema} GRANT SELECT ON TABLES TO {write}, {read};

-- name: note
INSERT INTO {schema}.watcher_roles (kind, name) VALUES ('migrate', {migrate}), ('write', {write}), ('read', {read})
ON CONFLICT (kind) DO UPDATE SET name = excluded.name WHERE watcher_roles.name <> excluded.name;
