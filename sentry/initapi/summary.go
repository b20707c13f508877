package initapi

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"sayasystems.com/atlas/image/layout"
)

// SummaryFile is where sentry writes Summary for init's console, whole at any time, every few seconds.
const SummaryFile = layout.Run + "/sentry.json"

// Readiness verdicts in Summary.
const (
	VerdictYes     = "yes"
	VerdictNo      = "no"
	VerdictUnknown = "unknown" // evidence is missing; never regarded as yes
)

// Summary is what init's console shows of sentry. A reader regards one that is older than SummaryMaxAge as unknown.
type Summary struct {
	Written   time.Time        `json:"written"`
	Verdict   string           `json:"verdict"`         // ready to swap: "yes", "no" or "unknown"
	Reasons   []string         `json:"reasons"`         // why not, most important first; short sentences
	Notes     []string         `json:"notes,omitempty"` // what else belongs to the verdict: accepted findings, a rehearsal
	Worst     *Finding         `json:"worst,omitempty"` // most severe finding of the site
	Findings  int              `json:"findings"`        // how many warnings and critical ones there are
	Probes    ProbeCount       `json:"probes"`          // of this server's services, by all observers
	Peers     []PeerSummary    `json:"peers"`
	JoinCode  string           `json:"join_code,omitempty"` // only while this server knows no other: to be typed at the new one
	Dashboard string           `json:"dashboard,omitempty"` // https://10.7.0.11:8443/
	Services  []ServiceSummary `json:"services"`
}

// SummaryMaxAge is the age from which a Summary tells nothing any more.
const SummaryMaxAge = 30 * time.Second

// ProbeCount counts probes by what they found.
type ProbeCount struct {
	Pass    int `json:"pass"`
	Fail    int `json:"fail"`
	Unknown int `json:"unknown"`
}

// PeerSummary is another server of the site.
type PeerSummary struct {
	Name    string    `json:"name"`
	Address string    `json:"address"`
	State   string    `json:"state"`          // as State.State, or "unknown"
	Role    string    `json:"role,omitempty"` // of its set
	Seen    time.Time `json:"seen"`           // when it last answered; zero = never since sentry's start
}

// ServiceSummary tells how a service of this server does as the probes see it.
type ServiceSummary struct {
	Name    string `json:"name"`
	Verdict string `json:"verdict"` // "pass", "fail", "unknown"
}

// ReadSummary reads the summary at path, SummaryFile if empty.
func ReadSummary(path string) (Summary, error) {
	if path == "" {
		path = SummaryFile
	}
	var s Summary
	data, err := os.ReadFile(path)
	if err != nil {
		return s, fmt.Errorf("read sentry's summary: %w", err)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("read sentry's summary %s: %w", path, err)
	}
	return s, nil
}
