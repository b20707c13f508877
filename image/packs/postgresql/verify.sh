# The verification database: one row that probes read, and a table that they may write. May be run again at any time.
set -eu
secret=/etc/atlas/verify.secret
[ -s "$secret" ] || { echo "postgresql: $secret is missing; the installer makes it" >&2; exit 1; }
# The password goes through standard input, never through an argument list that others can read, and not into the server's log.
password=$(sed "s/'/''/g" "$secret")
setpriv --reuid postgres --regid postgres --init-groups psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --dbname=postgres --output=/dev/null <<SQL
SET client_min_messages = warning;
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
SET log_min_duration_statement = -1;
SELECT 'CREATE ROLE atlas_verify' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'atlas_verify') \gexec
ALTER ROLE atlas_verify LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 20 PASSWORD '$password';
SELECT 'CREATE DATABASE atlas_verify' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'atlas_verify') \gexec
REVOKE ALL ON DATABASE atlas_verify FROM PUBLIC;
GRANT CONNECT ON DATABASE atlas_verify TO atlas_verify;
\connect atlas_verify
SET client_min_messages = warning;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
CREATE TABLE IF NOT EXISTS canary (id integer PRIMARY KEY, text varchar(255) NOT NULL);
CREATE TABLE IF NOT EXISTS scratch (id varchar(64) PRIMARY KEY, text varchar(255) NOT NULL, at timestamptz NOT NULL DEFAULT now());
INSERT INTO canary (id, text) VALUES (1, 'the verification row') ON CONFLICT (id) DO UPDATE SET text = EXCLUDED.text WHERE canary.text <> EXCLUDED.text;
GRANT SELECT ON canary TO atlas_verify;
GRANT SELECT, INSERT, DELETE ON scratch TO atlas_verify;
SQL
