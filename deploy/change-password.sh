#!/bin/sh
# Gives an account of PostgreSQL another password, there and in every file that holds it.
# usage: deploy/change-password.sh ACCOUNT   (as root, in the directory of docker-compose.yml)
#
# PostgreSQL must run. Broken off, it is repeated: at the server's own socket no password is asked for.
set -eu

case ${1:-} in
postgres | temporal | cardflow_owner | cardflow | cardflow_auditor) ;;
*)
    echo "usage: deploy/change-password.sh postgres|temporal|cardflow_owner|cardflow|cardflow_auditor" >&2
    exit 2
    ;;
esac
umask 077
password=$(openssl rand -hex 24)
printf "ALTER ROLE %s PASSWORD '%s';\n" "$1" "$password" |
    docker-compose exec -T postgresql psql --username postgres --no-psqlrc --quiet --set ON_ERROR_STOP=1
echo "$password" >"passwords/$1"
"$(dirname "$0")/make-secrets.sh"
case $1 in
temporal) echo "changed; now: docker-compose restart temporal" ;;
cardflow_auditor) echo "changed; give it to those who audit: passwords/cardflow_auditor" ;;
*) echo "changed; nothing needs to be started anew" ;;
esac
