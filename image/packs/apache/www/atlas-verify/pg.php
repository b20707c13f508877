<?php
// Read every minute to prove that PHP reaches PostgreSQL, as an application of the office would: by the service address, encrypted.
header('Content-Type: text/plain; charset=utf-8');
header('Cache-Control: no-store');
$password = trim(file_get_contents('/etc/atlas/verify-web.secret'));
$db = @pg_connect("host={$_SERVER['SERVER_ADDR']} sslmode=require connect_timeout=5 dbname=atlas_verify user=atlas_verify password='$password'");
$row = $db ? @pg_fetch_row(@pg_query($db, 'SELECT text, now() FROM canary WHERE id = 1')) : false;
if ($row === false) {
    http_response_code(503);
    echo 'no row from the database: ', $db ? pg_last_error($db) : (error_get_last()['message'] ?? ''), "\n";
} else {
    echo $row[0], "\n", $row[1], "\n";
}
