-- What PostgreSQL makes of its files: NAME = VALUE, with a tilde where no file says it. What a file says counts as it stands there now, also
-- before a reload or restart. Who may log in is one line for each file, since the first rule that fits decides.
WITH said AS (
	SELECT DISTINCT ON (lower(name)) lower(name) AS name, setting FROM pg_file_settings WHERE setting IS NOT NULL ORDER BY lower(name), seqno DESC
)
SELECT CASE WHEN said.name IS NULL THEN '~' ELSE '' END || s.name || ' = '
	|| CASE WHEN s.name IN ('primary_conninfo', 'ssl_passphrase_command', 'archive_command', 'restore_command') AND coalesce(said.setting, s.setting) <> '' THEN '(not shown)'
		ELSE regexp_replace(coalesce(said.setting, s.reset_val, ''), '\s+', ' ', 'g') END
FROM pg_settings s LEFT JOIN said ON said.name = lower(s.name)
WHERE s.context <> 'internal' AND (said.name IS NOT NULL OR s.source NOT IN ('client', 'session'))
UNION ALL
SELECT said.name || ' = ' || said.setting FROM said WHERE NOT EXISTS (SELECT FROM pg_settings s WHERE lower(s.name) = said.name)
UNION ALL
SELECT 'pg_hba = ' || coalesce(string_agg(concat_ws(' ', type, array_to_string(database, ','), array_to_string(user_name, ','),
	address || coalesce('/' || netmask, ''), auth_method, array_to_string(ARRAY(SELECT unnest(options) ORDER BY 1), ' '), 'mistake: ' || error), ' | ' ORDER BY line_number), '')
FROM pg_hba_file_rules;
