<?php
// Read every minute to prove that the web server runs PHP and that PHP reaches the database.
header('Content-Type: text/plain; charset=utf-8');
header('Cache-Control: no-store');
mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
try {
    $password = trim(file_get_contents('/etc/atlas/verify-web.secret'));
    $db = new mysqli('localhost', 'atlas_verify', $password, 'atlas_verify', 0, '/run/mysqld/mysqld.sock');
    $row = $db->query('SELECT text, NOW(3) AS now FROM canary WHERE id = 1')->fetch_assoc();
    if ($row === null) {
        throw new RuntimeException('row 1 of canary is missing');
    }
    echo $row['text'], "\n", $row['now'], "\n";
} catch (Throwable $e) {
    http_response_code(503);
    echo 'no row from the database: ', $e->getMessage(), "\n";
}
