#!/bin/sh
# Makes what the services of docker-compose.yml need among themselves; what is there already stays,
# but for files that hold a password again (pgpass): those follow passwords/.
# usage: deploy/make-secrets.sh [directory]   (run as root, in the directory of docker-compose.yml)
#
# passwords/ is closed on this machine, and its files are readable in the containers that are given
# them: each container runs under an account of its own. Cardflow's own secrets are its account's.
set -eu

cd "${1:-.}"
umask 077
mkdir -p passwords secrets owner backups

random() { openssl rand -hex 24; }
made() { [ -s "$1" ] || { "$2" "$1" && echo "made $1"; }; }

password() { random >"$1"; }
pgpass_of() { # file, account, database; the password is always the one in passwords/
    {
        printf 'postgresql:5432:%s:%s:%s\n' "$3" "$2" "$(sed 's/[\\:]/\\&/g' "passwords/$2")"
        grep -v "^postgresql:5432:[^:]*:$2:" "$1" 2>/dev/null || true # of other servers, by hand
    } >"$1.new"
    if cmp -s "$1.new" "$1"; then rm "$1.new"; else mv "$1.new" "$1" && echo "made $1"; fi
}

root() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -sha256 \
        -subj "/CN=Cardflow inside" -keyout passwords/inside-root-key.pem -out "$1" 2>/dev/null
}
certificate_of() { # name of a service
    [ -s "passwords/$1.pem" ] && return
    if [ ! -s passwords/inside-root-key.pem ]; then
        echo "passwords/inside-root-key.pem is needed to make passwords/$1.pem; bring it back for this" >&2
        exit 1
    fi
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -subj "/CN=$1" \
        -keyout "passwords/$1-key.pem" -out "passwords/$1.csr" 2>/dev/null
    printf 'subjectAltName=DNS:%s\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n' "$1" |
        openssl x509 -req -days 1825 -sha256 -in "passwords/$1.csr" -CA passwords/inside-root.pem \
            -CAkey passwords/inside-root-key.pem -extfile /dev/stdin -out "passwords/$1.pem" 2>/dev/null
    rm "passwords/$1.csr"
    echo "made passwords/$1.pem"
}
identities() {
    printf '{"identities": [{"name": "cardflow", "credentials": [{"accessKey": "cardflow", "secretKey": "%s"}], "actions": ["Read:documents", "List:documents", "Write:documents"]}]}\n' \
        "$(cat secrets/documents-key)" >"$1"
}
no_account() { echo "account user:password" >"$1"; }

for name in postgres temporal cardflow_owner cardflow cardflow_auditor grafana; do
    made "passwords/$name" password
done
pgpass_of secrets/pgpass cardflow cardflow
pgpass_of owner/pgpass cardflow_owner cardflow
pgpass_of owner/temporal-pgpass temporal '*'
made owner/backup-passphrase password

made passwords/inside-root.pem root
certificate_of documents
certificate_of mail
cp passwords/inside-root.pem secrets/inside-root.pem
made secrets/documents-key password
made passwords/documents.json identities
made passwords/mail-account no_account

chmod 444 passwords/*
chmod 400 passwords/mail-key.pem passwords/mail-account # of root's alone
if [ -e passwords/inside-root-key.pem ]; then chmod 400 passwords/inside-root-key.pem; fi # or it is offline
chmod 700 secrets owner backups
chmod 600 secrets/* owner/*
if [ "$(id -u)" = 0 ]; then chown -R 10001 secrets owner && chown 10001 backups; fi
