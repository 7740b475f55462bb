#!/bin/sh
# Runs a program with what stands in files: NAME_FILE=/run/secrets/x becomes NAME=<its content>. Neither docker-compose.yml nor
# `docker inspect` shows the values then.
set -eu
for name in $(env | sed -n 's/^\([A-Z_]*\)_FILE=\/run\/secrets\/.*/\1/p'); do
    eval "file=\$${name}_FILE"
    value=$(cat "$file")
    export "$name=$value"
    unset "${name}_FILE"
done
exec "$@"
