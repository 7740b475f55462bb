#!/bin/sh
# Makes the secrets of docker-compose.yml in ./secrets, each in a file of its own; those that are there stay as they are.
# Containers read them as other users, so that the files are open and the folder is closed.
set -eu
mkdir -p secrets
chmod 700 secrets
make() {
    [ -s "secrets/$1" ] || od -An -N20 -tx1 /dev/urandom | tr -d ' \n' > "secrets/$1"
    chmod 644 "secrets/$1"
}
for name in postgres_password label_studio_db_password parallax_db_password redis_password parallax_secret \
    label_studio_password label_studio_api_key; do
    make "$name"
done
printf 'redis://:%s@redis:6379/0' "$(cat secrets/redis_password)" > secrets/redis_url
chmod 644 secrets/redis_url
echo "secrets are in ./secrets; the first user's password is in secrets/label_studio_password"
