: >/tmp/empty.ini
echo "@@ version"; php -v
echo "@@ listing"; php -c /tmp/empty.ini -r 'foreach (ini_get_all() as $k => $v) echo $k, "\t", json_encode($v["global_value"]), "\n";'
echo "@@ modules"; php -c /tmp/empty.ini -m | sed -n 's/^[A-Za-z].*/&/p'
