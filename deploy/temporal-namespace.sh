#!/bin/sh
# Cardflow's namespace and its search attributes; what is there already stays.
set -eu

namespace=cardflow
temporal operator namespace describe -n "$namespace" >/dev/null 2>&1 ||
    temporal operator namespace create -n "$namespace" --retention 720h
present=$(temporal operator search-attribute list -n "$namespace")
for attribute in CardId:Keyword HolderId:Keyword Stage:Keyword WaitingFor:Keyword \
    Policy:Keyword CA:Keyword DueAt:Datetime; do
    name=${attribute%:*}
    echo "$present" | grep -qw "$name" ||
        temporal operator search-attribute create -n "$namespace" --name "$name" --type "${attribute#*:}"
done
