package tree

import (
	"fmt"

	"sayasystems.com/atlas/sentry/convert"
	"sayasystems.com/atlas/sentry/initapi"
)

// findConvert begins the names of findings about single settings.
const findConvert = "etc-convert-"

// Told lists what the owner is to know of a conversion. What is worth a line in the log alone is in Findings.
func (c *Converted) Told(server string) []initapi.Finding {
	var out []initapi.Finding
	if c.Not != "" {
		out = append(out, initapi.Finding{
			ID: "etc-not-converted", Severity: "critical", Where: server,
			What: fmt.Sprintf("The configuration is of Debian %d and could not be converted to Debian %d, which runs here: %s. It was taken over as it is, and services "+
				"may not start or do something else than before.", c.From, c.To, c.Not),
			Next: "Put the disk set into a server with the software that it comes from, or look at each service: atlas check.",
		})
	}
	if c.Damaged != "" {
		f := convert.DamagedRecord(c.From, c.To)
		f.ID, f.Where = "etc-kept", server
		out = append(out, f)
	}
	for _, f := range c.Findings {
		if n, ok := f.Told(findConvert, server, fmt.Sprintf("as it was on Debian %d, now on %d", c.From, c.To)); ok {
			out = append(out, n)
		}
	}
	return out
}

// Note is a line for the report of the boot.
func (c *Converted) Note() string {
	if c.Not != "" {
		return fmt.Sprintf("not converted from Debian %d to %d: %s", c.From, c.To, c.Not)
	}
	back := ""
	if c.Back {
		back = " back"
	}
	return fmt.Sprintf("converted%s from Debian %d to %d in %.1f s: %s, %s", back, c.From, c.To, c.Took.Seconds(), count(c.Files, "file"), count(len(c.Told("")), "finding"))
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
