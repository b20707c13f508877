# The verification database: one row that probes read, and a table that they may write. May be run again at any time.
set -eu
secret=/etc/atlas/verify.secret
[ -s "$secret" ] || { echo "mariadb: $secret is missing; the installer makes it" >&2; exit 1; }
# The password goes through standard input, never through an argument list that others can read.
password=$(sed -e 's/\\/\\\\/g' -e "s/'/\\\\'/g" "$secret")
mariadb --no-defaults --socket=/run/mysqld/mysqld.sock --user=root <<SQL
CREATE DATABASE IF NOT EXISTS atlas_verify CHARACTER SET utf8mb4;
CREATE TABLE IF NOT EXISTS atlas_verify.canary (id INT PRIMARY KEY, text VARCHAR(255) NOT NULL) ENGINE=InnoDB;
CREATE TABLE IF NOT EXISTS atlas_verify.scratch (id VARCHAR(64) PRIMARY KEY, text VARCHAR(255) NOT NULL, at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3)) ENGINE=InnoDB;
INSERT INTO atlas_verify.canary (id, text) VALUES (1, 'the verification row') ON DUPLICATE KEY UPDATE text = VALUES(text);
CREATE USER IF NOT EXISTS 'atlas_verify'@'%' IDENTIFIED BY '$password';
CREATE USER IF NOT EXISTS 'atlas_verify'@'localhost' IDENTIFIED BY '$password';
ALTER USER 'atlas_verify'@'%' IDENTIFIED BY '$password';
ALTER USER 'atlas_verify'@'localhost' IDENTIFIED BY '$password';
GRANT SELECT ON atlas_verify.* TO 'atlas_verify'@'%', 'atlas_verify'@'localhost';
GRANT SELECT, INSERT, DELETE ON atlas_verify.scratch TO 'atlas_verify'@'%', 'atlas_verify'@'localhost';
SQL
