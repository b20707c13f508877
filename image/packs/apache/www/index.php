<?php
// The page that a new site shows. Put an index.html beside it, or change it: it is yours, on the disk set.
$apps = [];
foreach (glob('/usr/share/atlas/www/*/title') as $file) {
    $apps['/' . basename(dirname($file)) . '/'] = trim(file_get_contents($file));
}
?><!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title><?= htmlspecialchars(gethostname()) ?></title>
<style>body{font:1.1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:3rem auto;padding:0 1rem;color:#222}a{color:#0a5}</style>
<h1>It works</h1>
<p>This web server runs on ATLAS. Its pages lie in <code>/srv/www</code> on the disk set, and move with it.</p>
<?php if ($apps): ?>
<ul>
<?php foreach ($apps as $path => $title): ?>
<li><a href="<?= htmlspecialchars($path) ?>"><?= htmlspecialchars($title) ?></a></li>
<?php endforeach ?>
</ul>
<?php endif ?>
</html>
