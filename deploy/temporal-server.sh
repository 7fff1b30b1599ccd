#!/bin/sh
# Temporal takes its database's password from the environment only; it gets there from a file.
set -eu

POSTGRES_PWD=$(cat /run/secrets/temporal)
export POSTGRES_PWD
exec temporal-server start
