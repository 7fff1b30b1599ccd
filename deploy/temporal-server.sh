#!/bin/sh
# What Temporal takes from the environment only and compose cannot say: its database's password, which
# is in a file, and the address at which its services find each other, for 0.0.0.0 is none.
set -eu

POSTGRES_PWD=$(cat /run/secrets/temporal)
TEMPORAL_BROADCAST_ADDRESS=$(getent hosts "$(hostname)" | awk '{ print $1; exit }')
export POSTGRES_PWD TEMPORAL_BROADCAST_ADDRESS
exec temporal-server start
