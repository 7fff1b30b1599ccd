#!/bin/sh
# Runs once, on an empty data directory: one account per user of the database, none of them its owner.
set -eu

psql --username postgres --set ON_ERROR_STOP=1 \
    --set temporal="$TEMPORAL_DB_PASSWORD" --set cardflow="$CARDFLOW_DB_PASSWORD" <<'SQL'
CREATE ROLE temporal LOGIN PASSWORD :'temporal';
CREATE DATABASE temporal OWNER temporal;
CREATE DATABASE temporal_visibility OWNER temporal;
CREATE ROLE cardflow LOGIN PASSWORD :'cardflow';
CREATE DATABASE cardflow OWNER cardflow;
REVOKE CONNECT ON DATABASE temporal, temporal_visibility, cardflow FROM PUBLIC;
SQL
