#!/bin/sh
# Runs once, on an empty data directory: one account per user of the database, none of them the server's owner.
set -eu

secret() { cat "/run/secrets/$1"; }

psql --username postgres --set ON_ERROR_STOP=1 \
    --set temporal="$(secret temporal)" --set owner="$(secret cardflow_owner)" \
    --set cardflow="$(secret cardflow)" --set auditor="$(secret cardflow_auditor)" <<'SQL'
CREATE ROLE temporal LOGIN PASSWORD :'temporal';
CREATE DATABASE temporal OWNER temporal;
CREATE DATABASE temporal_visibility OWNER temporal;
CREATE ROLE cardflow_owner LOGIN PASSWORD :'owner';
CREATE DATABASE cardflow OWNER cardflow_owner;
REVOKE CONNECT ON DATABASE temporal, temporal_visibility, cardflow FROM PUBLIC;

-- The API and the workers own nothing: they can switch off no trigger that keeps evidence as it is.
CREATE ROLE cardflow LOGIN PASSWORD :'cardflow';
CREATE ROLE cardflow_auditor LOGIN PASSWORD :'auditor';
GRANT CONNECT ON DATABASE cardflow TO cardflow, cardflow_auditor;
\connect cardflow
SET ROLE cardflow_owner;
ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO cardflow;
ALTER DEFAULT PRIVILEGES GRANT USAGE, SELECT ON SEQUENCES TO cardflow;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO cardflow_auditor;
RESET ROLE;
GRANT USAGE, CREATE ON SCHEMA public TO cardflow_owner;
SQL
