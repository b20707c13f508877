<?php
// Prints PHP's settings, with a tilde where no file of the directory given says them. Passwords are not printed.
$set = [];
foreach (array_merge([$argv[1] . '/php.ini'], glob($argv[1] . '/conf.d/*.ini')) as $file) {
	foreach (@parse_ini_file($file, false, INI_SCANNER_RAW) ?: [] as $name => $value) {
		$set[$name] = true;
	}
}
// What the command line has otherwise than a web server.
$cli = ['html_errors', 'implicit_flush', 'max_execution_time', 'max_input_time', 'display_errors', 'output_buffering', 'register_argc_argv'];
foreach (ini_get_all(null, false) as $name => $value) {
	if (in_array($name, $cli)) {
		$value = get_cfg_var($name);
		if ($value === false) {
			continue;
		}
	}
	if ($name == 'error_reporting' && $value !== null) {
		$value = (int)$value & ~2048; // E_STRICT, which says nothing any more since PHP 7, and is no part of E_ALL since 8.4
	}
	if (preg_match('/pass(word|wd)?$|_pw$/', $name) && $value != '') {
		$value = '(not shown)';
	}
	echo isset($set[$name]) ? '' : '~', 'php/', $name, ' = ', preg_replace('/\s+/', ' ', (string)$value), "\n";
}
$modules = get_loaded_extensions();
sort($modules);
echo 'php/extensions = ', implode(' ', $modules), "\n";
