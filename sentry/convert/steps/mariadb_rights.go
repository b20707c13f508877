package steps

import (
	"bytes"
	"regexp"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/sync/state"
)

// mariaRights is what the pack exports of the database's rights.
const mariaRights state.Path = "@db/mariadb/users.sql"

// The right to see how a routine was made, as its own column and as a word of a set.
var (
	rightColumn = regexp.MustCompile("(?m), `Show_create_routine_priv`='[YN]'")
	rightWord   = regexp.MustCompile("(?m)(, `Proc_priv`='[^'\n]*?),?Show Create Routine")
	rightRow    = regexp.MustCompile("(?m)^REPLACE INTO mysql\\.(db|procs_priv) SET .*\n")
	noRight     = []byte("`Proc_priv`=''") // the row has no other
)

// mariaRightsStep takes out of the exported rights what the older server has no column for. There, who may change a routine sees how it was made.
func mariaRightsStep() convert.Step {
	return convert.Step{
		ID: "mariadb-rights", Service: "mariadb", Old: 12, Class: convert.Ignored, Title: "MariaDB: the right SHOW CREATE ROUTINE, in exported users and grants",
		Source: "release notes of MariaDB 11.3; measured: columns of mysql.db and mysql.procs_priv of both",
		Back: func(w *convert.Work) error {
			for _, p := range w.Changed(string(mariaRights)) {
				line, was := 0, w.Text(p)
				var out []byte
				for row := range bytes.Lines(was) {
					line++
					now := row
					if rightRow.Match(row) {
						now = rightWord.ReplaceAll(rightColumn.ReplaceAll(row, nil), []byte("$1"))
						now = bytes.ReplaceAll(now, []byte("`Proc_priv`=',"), []byte("`Proc_priv`='"))
						if !bytes.Equal(now, row) && bytes.Contains(now, noRight) {
							now = nil
						}
					}
					if !bytes.Equal(now, row) {
						w.Tell(convert.Finding{Path: p, Line: line, What: "MariaDB of Debian 12 does not know the right SHOW CREATE ROUTINE; it is left out there."})
					}
					out = append(out, now...)
				}
				if !bytes.Equal(out, was) {
					w.Write(p, out)
				}
			}
			return nil
		},
	}
}
