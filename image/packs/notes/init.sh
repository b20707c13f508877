# The database of notes. PHP logs in as the Unix user that it runs as, so there is no password to keep.
set -eu
mariadb --no-defaults --socket=/run/mysqld/mysqld.sock --user=root <<'SQL'
CREATE DATABASE IF NOT EXISTS notes CHARACTER SET utf8mb4;
CREATE TABLE IF NOT EXISTS notes.note (
	id   BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
	at   TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
	text VARCHAR(2000) NOT NULL
) ENGINE=InnoDB;
CREATE USER IF NOT EXISTS 'www-data'@'localhost' IDENTIFIED VIA unix_socket;
GRANT SELECT, INSERT ON notes.* TO 'www-data'@'localhost';
SQL
