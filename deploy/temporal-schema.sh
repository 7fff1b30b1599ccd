#!/bin/sh
# Brings Temporal's two databases to the schema of this version; runs before every start.
set -eu

SQL_PASSWORD=$(cat /run/secrets/temporal)
export SQL_PASSWORD
for store in temporal visibility; do
    database=temporal
    [ "$store" = temporal ] || database=temporal_visibility
    # Refused where the schema is there already; a real failure shows in the next command.
    temporal-sql-tool --db "$database" setup-schema -v 0.0 || true
    temporal-sql-tool --db "$database" update-schema \
        -d "/etc/temporal/schema/postgresql/v12/$store/versioned"
done
