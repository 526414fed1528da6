#!/bin/sh
# Run once, when the database's volume is empty: a database and an owner for each part, and no part in another's.
set -eu
for part in airflow mlflow ratchet; do
    case $part in
        airflow) password=$AIRFLOW_DB_PASSWORD ;;
        mlflow) password=$MLFLOW_DB_PASSWORD ;;
        ratchet) password=$RATCHET_DB_PASSWORD ;;
    esac
    psql --quiet --set ON_ERROR_STOP=1 --username postgres --set password="$password" <<SQL
CREATE ROLE $part LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
CREATE DATABASE $part OWNER $part;
REVOKE ALL ON DATABASE $part FROM PUBLIC;
SQL
done
# The service that strangers call owns nothing; what it may do with the tables, `./ratchet migrate` grants.
psql --quiet --set ON_ERROR_STOP=1 --username postgres --set password="$SERVING_DB_PASSWORD" <<SQL
CREATE ROLE ratchet_serving LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
GRANT CONNECT ON DATABASE ratchet TO ratchet_serving;
SQL
