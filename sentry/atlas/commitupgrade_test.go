package main

import (
	"strings"
	"testing"

	"sayasystems.com/atlas/sentry/initapi"
)

func TestCommitUpgrade(t *testing.T) {
	kept := initapi.Committed{Kept: []string{"Database: PostgreSQL 15, 3.0 GB, in /var/lib/postgresql/15/main"}, Freed: 3 << 30}
	for _, c := range []struct {
		name, typed string
		answer      initapi.Committed
		args        []string
		done        bool
		out, err    string
	}{
		{"confirmed", "commit-upgrade\n", kept, nil, true, "Done: 3072 MB are free again.", ""},
		{"not confirmed", "yes\n", kept, nil, false, "PostgreSQL 15, 3.0 GB", "not confirmed; nothing was done"},
		{"end of input", "", kept, nil, false, "To do this, type: commit-upgrade", "not confirmed"},
		{"without asking", "", kept, []string{"--yes", "postgresql"}, true, "Done", ""},
		{"nothing kept", "", initapi.Committed{}, nil, false, "there is nothing to confirm", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			socket, posted := server(t, map[string]any{"/v1/data/commit": c.answer})
			var out strings.Builder
			err := run(t.Context(), append([]string{"--init-socket", socket, "commit-upgrade"}, c.args...), strings.NewReader(c.typed), &out)
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("error = %v; want %q", err, c.err)
			}
			var last initapi.CommitRequest
			if !posted("/v1/data/commit", &last) || last.Ask == c.done || c.done && len(c.args) > 0 && strings.Join(last.Services, " ") != "postgresql" {
				t.Errorf("asked of init at last: %+v; want done %t", last, c.done)
			}
			if !strings.Contains(out.String(), c.out) {
				t.Errorf("output %q; want %q", out.String(), c.out)
			}
		})
	}
}
