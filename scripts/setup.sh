#!/usr/bin/env bash
# Brings a bare Debian or Ubuntu to where Cardflow runs; says what it does; does nothing twice.
# usage: scripts/setup.sh demo|dev|tests|node
set -euo pipefail
cd "$(dirname "$0")/.."

DEMO_PACKAGES=(python3-venv softhsm2 opensc gnutls-bin openssl poppler-utils)
TEST_PACKAGES=(chromium chromium-headless-shell clamav-daemon nginx libnginx-mod-stream docker-compose prometheus prometheus-alertmanager opensmtpd
    postgresql faketime swtpm tpm2-tools libtpm2-pkcs11-1 tpm2-abrmd libtss2-tcti-tabrmd0 dbus gcc libc6-dev
    golang-cfssl libpangoft2-1.0-0 libharfbuzz-subset0)

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

missing_packages() {
    local package
    for package in "$@"; do
        [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || echo "$package"
    done
}

install_packages() {
    local missing as_root=()
    command -v dpkg-query >/dev/null || fail "this is not Debian or Ubuntu; install the likes of: $*"
    mapfile -t missing < <(missing_packages "$@")
    ((${#missing[@]})) || return 0
    if ((EUID)); then
        command -v sudo >/dev/null || fail "run as root: apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    say "installing Debian packages: ${missing[*]}"
    # Run level 1 keeps the packages' daemons from being started: Cardflow needs none of them.
    as_root+=(env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get -qq)
    "${as_root[@]}" update >/dev/null
    "${as_root[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null
}

is_recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    local candidate
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if is_recent "$candidate"; then echo "$candidate"; return; fi
    done
    fail "Python 3.11 or later is needed and was not found"
}

make_environment() {
    local python
    if is_recent .venv/bin/python; then return; fi
    python=$(find_python)
    say "making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
}

install_python_packages() {
    local lock=$1 stamp=.venv/.$1 wanted
    wanted=$(sha256sum <"$lock")
    if [[ $(cat "$stamp" 2>/dev/null) == "$wanted" ]]; then return; fi
    say "installing Python packages from $lock into .venv (about a minute)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input \
        --require-hashes --no-deps -r "$lock"
    echo "$wanted" >"$stamp"
    say "done"
}

case "${1:-}" in
demo)
    install_packages "${DEMO_PACKAGES[@]}"
    make_environment
    install_python_packages requirements.lock
    ;;
dev) install_python_packages requirements-dev.lock ;;
tests) install_packages "${TEST_PACKAGES[@]}" ;;
node) command -v npm >/dev/null || install_packages nodejs npm ;; # others' packages bring npm along
*) fail "usage: scripts/setup.sh demo|dev|tests|node" ;;
esac
