#!/usr/bin/env bash
# Starts Cardflow with an OpenID provider beside it: npm's certified `oidc-provider`, which takes any
# login with any password. Ctrl-C stops both.
# usage: scripts/demo_oidc.sh run | install DIRECTORY
set -euo pipefail
cd "$(dirname "$0")/.."

PACKAGE=oidc-provider@8.8.1 # the last that Debian's Node 18 runs
PORT=19400
CARDFLOW=http://localhost:8000

install_provider() {
    mkdir -p "$1"
    [[ -d $1/node_modules/oidc-provider ]] ||
        npm install --prefix "$1" --no-audit --no-fund --no-update-notifier --loglevel=error "$PACKAGE"
}

run() {
    local directory=$PWD/var/provider
    install_provider "$directory"
    cp scripts/demo_provider.mjs "$directory/"
    [[ -s $directory/secret ]] || (umask 077 && openssl rand -hex 24 >"$directory/secret")
    node "$directory/demo_provider.mjs" "$PORT" "$CARDFLOW" "$directory/secret" &
    trap "kill $! 2>/dev/null" EXIT
    export CARDFLOW_OIDC_ISSUER=http://localhost:$PORT CARDFLOW_OIDC_NAME="the demo's provider"
    export CARDFLOW_OIDC_CLIENT_ID=cardflow CARDFLOW_OIDC_CLIENT_SECRET_FILE=$directory/secret
    export CARDFLOW_OIDC_SCOPES="openid profile" CARDFLOW_OIDC_MATCH_CLAIM=preferred_username
    .venv/bin/python -m cli up
}

case "${1:-}" in
install) install_provider "$2" ;;
run) run ;;
*) sed -n '2,4s/^# //p' "$0"; exit 1 ;;
esac
