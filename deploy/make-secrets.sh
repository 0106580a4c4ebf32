#!/bin/sh
# Makes the secrets that docker-compose.yml mounts, at random, each in a file of its own: sh deploy/make-secrets.sh [FOLDER]
# A file that is there already is kept, so that it may be run again after an upgrade which needs one more.
set -eu
umask 077

folder=${1:-$(dirname "$0")/../secrets}
mkdir -p "$folder"
# Nobody else on this machine gets past the folder. The files themselves are readable, because Docker mounts them as they
# are, and in the containers they are read by users that own nothing here.
chmod 700 "$folder"

random() {
    od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

keep() {
    if [ ! -e "$folder/$1" ]; then
        printf '%s\n' "$2" >"$folder/$1.new"
        chmod 444 "$folder/$1.new"
        mv "$folder/$1.new" "$folder/$1"
        echo "made $folder/$1"
    fi
}

# What is off while it is empty: its file must be there all the same, and is filled when its value is first given.
allow() {
    if [ -n "$2" ] && [ ! -s "$folder/$1" ]; then
        rm -f "$folder/$1"
        keep "$1" "$2"
    elif [ ! -e "$folder/$1" ]; then
        (umask 222 && : >"$folder/$1")
    fi
}

keep postgres_password "$(random)"
keep attribution_database_url "postgresql://attribution:$(cat "$folder/postgres_password")@postgres:5432/attribution"
keep redis_password "$(random)"
keep redis.conf "requirepass $(cat "$folder/redis_password")"
keep attribution_redis_url "redis://:$(cat "$folder/redis_password")@redis:6379/0"
keep attribution_event_secrets "$(random)"
keep attribution_message_secrets "$(random)"
keep attribution_recipient_key "$(random)"
keep attribution_flower_auth "operator:$(random)"
keep grafana_password "$(random)"
allow attribution_sentry_dsn "${ATTRIBUTION_SENTRY_DSN:-}"
