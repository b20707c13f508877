<?php
// Notes: GET shows them, POST with the field "text" adds one. With ?format=text both answer in plain text, for scripts: one line
// a note, number, time and text parted by tabs. A note is answered for only after it is committed.
$plain = ($_GET['format'] ?? '') === 'text';
header('Cache-Control: no-store');
header('Content-Type: text/' . ($plain ? 'plain' : 'html') . '; charset=utf-8');
header("Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; form-action 'self'");

function refuse(int $status, string $why): never
{
    http_response_code($status);
    header('Content-Type: text/plain; charset=utf-8');
    echo $why, "\n";
    exit;
}

mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
try {
    $db = new mysqli('localhost', 'www-data', '', 'notes', 0, '/run/mysqld/mysqld.sock');
    $db->set_charset('utf8mb4');
    if ($_SERVER['REQUEST_METHOD'] === 'POST') {
        if (($_SERVER['HTTP_SEC_FETCH_SITE'] ?? 'same-origin') === 'cross-site') {
            refuse(403, 'Notes are added from this site only.');
        }
        $text = is_string($_POST['text'] ?? null) ? trim($_POST['text']) : '';
        if ($text === '' || !mb_check($text)) {
            refuse(400, 'A note needs a text of at most 2000 characters.');
        }
        $db->begin_transaction();
        $insert = $db->prepare('INSERT INTO note (text) VALUES (?)');
        $insert->bind_param('s', $text);
        $insert->execute();
        $id = $insert->insert_id;
        $db->commit();
        if ($plain) {
            http_response_code(201);
            echo $id, "\n";
        } else {
            header('Location: /notes/', true, 303);
        }
        exit;
    }
    $notes = $db->query('SELECT id, at, text FROM note ORDER BY id DESC LIMIT 1000')->fetch_all(MYSQLI_ASSOC);
} catch (mysqli_sql_exception $e) {
    error_log('notes: ' . $e->getMessage());
    refuse(503, 'The database does not answer. The note was not kept; try again in a minute.');
}

// mb_check tells whether $s is UTF-8 of at most 2000 characters, without the mbstring extension.
function mb_check(string $s): bool
{
    return preg_match('/^.{1,2000}$/us', $s) === 1;
}

if ($plain) {
    foreach (array_reverse($notes) as $n) {
        echo $n['id'], "\t", $n['at'], "\t", strtr($n['text'], "\t\r\n", '   '), "\n";
    }
    exit;
}
?><!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Notes</title>
<style>
body{font:1.1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:2rem auto;padding:0 1rem;color:#222}
form{display:flex;gap:.5rem}input{flex:1;min-width:0;font:inherit;padding:.4rem}button{font:inherit;padding:.4rem 1rem}
ul{list-style:none;padding:0}li{border-bottom:1px solid #ddd;padding:.5rem 0;overflow-wrap:anywhere}time{color:#666;font-size:.85rem;display:block}
</style>
<h1>Notes</h1>
<form method="post" action="/notes/">
<input name="text" maxlength="2000" required aria-label="New note" placeholder="Write a note" autofocus>
<button>Add</button>
</form>
<ul>
<?php foreach ($notes as $n): ?>
<li><time><?= htmlspecialchars($n['at']) ?></time><?= nl2br(htmlspecialchars($n['text'])) ?></li>
<?php endforeach ?>
</ul>
<?php if (!$notes): ?><p>No notes yet.</p><?php endif ?>
</html>
