#!/bin/sh
# A database and a role each for Label Studio and Parallax: neither can read the other's tables.
set -eu

make() {
    psql --set ON_ERROR_STOP=1 --set role="$1" --set password="$(cat "$2")" --username "$POSTGRES_USER" --dbname postgres <<-'SQL'
		CREATE ROLE :"role" LOGIN PASSWORD :'password';
		CREATE DATABASE :"role" OWNER :"role";
		REVOKE CONNECT ON DATABASE :"role" FROM PUBLIC;
	SQL
}

make labelstudio "$LABEL_STUDIO_DB_PASSWORD_FILE"
make parallax "$PARALLAX_DB_PASSWORD_FILE"
