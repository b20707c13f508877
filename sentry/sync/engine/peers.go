package engine

import (
	"fmt"
	"strings"

	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/carry"
)

// refusedPrefix begins the names of findings about servers that do not take changes.
const refusedPrefix = "sync-peer-"

// nextOf tells what a person can do where a server does not take changes, and will not by itself. What is missing here passes by itself, or is
// told when it lasts.
var nextOf = map[carry.Code]string{
	carry.CodeDiverged: "If disks were swapped or put back, shut this server down and put the newest ones in. If this one's files are right, let the other server " +
		"take them as they are now: atlas resync, or on the page under Changes. What the other one has is kept.",
	carry.CodeLineage:   "Look at the console of the primary: its disks are not those that the other server followed.",
	carry.CodeSite:      "Install one of the two servers anew, with a join code of the other's site.",
	carry.CodePrimaries: "Shut down one of the two primaries at once; keep the one that the office has worked with.",
	carry.CodeFull:      "Make room on the disk set of the other server.",
	carry.CodeSize:      "Look for very large files among the configuration of this server.",
	carry.CodeProtocol:  "Bring both servers to the same version of ATLAS.",
	carry.CodeFailed:    "Look at the log of the other server; if it goes on, check its disks.",
	carry.CodeGarbage:   "Look at the log of both servers; if it goes on, restart Sentry here.",
}

// peers tells which servers refuse the changes of this one. The refused server tells the same if it can; here it is told in any case.
func (e *Engine) peers() {
	bad := map[string]bool{}
	for name, p := range e.cfg.Sender.Status() {
		if p.Damaged {
			e.suspected()
		}
		next, ok := nextOf[p.Code]
		if p.Err == "" || !ok {
			continue
		}
		bad[refusedPrefix+name] = true
		e.cfg.Findings.Set(initapi.Finding{
			ID: refusedPrefix + name, Severity: "critical", Where: name, What: fmt.Sprintf("%s does not take the changes of %s: %s.", name, e.cfg.Server, p.Err), Next: next,
		})
	}
	for _, f := range e.cfg.Findings.List() {
		if strings.HasPrefix(f.ID, refusedPrefix) && !bad[f.ID] {
			e.cfg.Findings.Clear(f.ID)
		}
	}
}
