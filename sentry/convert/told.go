package convert

import (
	"fmt"
	"strconv"
	"strings"

	"sayasystems.com/atlas/sentry/initapi"
)

// Severity is how a finding is told: "critical", "warning", or "" for what is worth a line in the log alone.
func (f Finding) Severity() string {
	switch {
	case f.Class.Blocks():
		return "critical"
	case f.Class == Approximated, f.Class == Data:
		return "warning"
	}
	return ""
}

// Told makes of it what the owner of a server is told, under a name that begins with prefix. The place is that in the files it comes from;
// of says whose they are: "of the primary, on right". It is false for what is worth a line in the log alone.
func (f Finding) Told(prefix, server, of string) (initapi.Finding, bool) {
	severity := f.Severity()
	if severity == "" {
		return initapi.Finding{}, false
	}
	where, place := server, "Configuration"
	switch {
	case f.Path != "":
		place = "/" + string(f.Path)
		if f.Line > 0 {
			place += ":" + strconv.Itoa(f.Line)
		}
	case f.Service != "":
		where, place = server+" "+f.Service, "Configuration of "+f.Service
	}
	return initapi.Finding{
		ID:       prefix + f.Step + "-" + strings.ReplaceAll(string(f.Path), "/", "-") + "-" + strconv.Itoa(f.Line),
		Severity: severity, Where: where, What: place + " " + of + ": " + f.What, Next: f.Next,
	}, true
}

// DamagedRecord is the finding that what was kept for the way back cannot be read. The caller names it and its place.
func DamagedRecord(from, to int) initapi.Finding {
	return initapi.Finding{
		Severity: "warning",
		What: fmt.Sprintf("The record of how the configuration was before it was first converted to Debian %d is damaged: it was converted back to Debian %d "+
			"as it is, and lines that Debian %d does not know are missing.", from, to, from),
		Next: "Compare with the configuration from before: atlas history. Have the disks checked.",
	}
}
