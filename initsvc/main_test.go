package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/initsvc/tree"
)

func TestRunRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		"not process 1":   {"init"},
		"unknown command": {"init", "dance"},
		"no module named": {"/run/atlas/modprobe", "-q", "--"},
	} {
		err := run(context.Background(), args, strings.NewReader(""), &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("run(%q) = %v; want %q", args, err, want)
		}
	}
}

func TestWithRootHash(t *testing.T) {
	const shadow = "root:*:19000:0:99999:7:::\ndaemon:*:19000::::::\n"
	for _, tt := range []struct{ name, hash, want string }{
		{"hash", "$6$salt$abc", "root:$6$salt$abc:19000:0:99999:7:::\ndaemon:*:19000::::::\n"},
		{"none", "", shadow},
		{"breaks the line", "x:0:0", shadow},
		{"two lines", "x\ny", shadow},
	} {
		if d := cmp.Diff(tt.want, string(withRootHash([]byte(shadow), tt.hash))); d != "" {
			t.Errorf("%s: %s", tt.name, d)
		}
	}
}

func TestTreeNote(t *testing.T) {
	for want, r := range map[string]tree.Report{
		"":                     {Version: "1"},
		"first use of the set": {Version: "1", First: true},
		"configuration of 1 taken over: 2 updated, 0 added, 0 removed, 1 conflicts": {
			Version: "2", From: "1", Updated: []string{"a", "b"}, Conflicts: make([]tree.Conflict, 1),
		},
	} {
		if got := treeNote(r); got != want {
			t.Errorf("treeNote(%+v) = %q; want %q", r, got, want)
		}
	}
}

func TestHelper(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := helper(ctx, "/bin/sh", "-c", "echo out; echo first >&2; echo last words >&2; exit 3")
	if string(out) != "out\n" || err == nil || err.Error() != "sh: exit status 3: last words" {
		t.Errorf("helper = %q, %v", out, err)
	}
	if out, err := helper(ctx, "/bin/echo", "x"); string(out) != "x\n" || err != nil {
		t.Errorf("helper = %q, %v", out, err)
	}
}
