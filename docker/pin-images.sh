#!/bin/sh
# Pulls the images that .env names by tag, and writes there the digest of what came: from then on exactly that is run.
set -eu
for name in POSTGRES_IMAGE REDIS_IMAGE CADDY_IMAGE LABEL_STUDIO_IMAGE; do
    image=$(sed -n "s/^$name=//p" .env)
    docker pull --quiet "$image"
    pinned=$(docker image inspect --format '{{index .RepoDigests 0}}' "$image")
    sed -i.old "s|^$name=.*|$name=$pinned|" .env
    echo "$name: $image is $pinned"
done
rm -f .env.old
