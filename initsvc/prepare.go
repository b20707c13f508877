package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/initsvc/pid1"
	"sayasystems.com/atlas/initsvc/tree"
	"sayasystems.com/atlas/sentry/convert/steps"
	"sayasystems.com/atlas/sentry/convert/vendor"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/sync/class"
	"sayasystems.com/atlas/sentry/sync/state"
)

// prepareVerb is the helper that converts. It reads what is known of whole releases of Debian: process 1 is not to hold that in its memory,
// nor to end with a mistake in it.
const prepareVerb = "prepare"

// convertWithin is how long a conversion may take. It takes a second; one that does not come to an end must not hold the boot.
const convertWithin = 2 * time.Minute

// treePreparer makes a set's directories ready. Where that means another release of Debian, convert does it, in a process of its own; if that
// fails, files are merged as between images of one release, and the owner is told.
type treePreparer struct {
	log     *slog.Logger
	convert func(ctx context.Context, setDir, imageDir, version string) (tree.Report, error)
}

func (p treePreparer) prepare(ctx context.Context, setDir, imageDir, version string, say func(string)) (pid1.Prepared, error) {
	var c tree.Conversion
	if from, to := tree.Crossing(setDir, imageDir, version); from != to {
		say(fmt.Sprintf("Converting the configuration from Debian %d to %d", from, to))
		limited, cancel := context.WithTimeout(ctx, convertWithin)
		defer cancel()
		r, err := p.convert(limited, setDir, imageDir, version)
		switch {
		case err == nil:
			p.tell(r.Converted)
			return prepared(setDir, r), nil
		case ctx.Err() != nil:
			return pid1.Prepared{}, ctx.Err()
		case limited.Err() != nil:
			err = fmt.Errorf("it took longer than %s", convertWithin)
		}
		p.log.Error("configuration was not converted; its files are merged", "err", err)
		c.Not = err.Error()
	}
	r, err := tree.Prepare(ctx, setDir, imageDir, version, c)
	return prepared(setDir, r), err
}

// tell logs each finding.
func (p treePreparer) tell(c *tree.Converted) {
	if c == nil {
		return
	}
	p.log.Info("configuration", "converted", c.Note())
	for _, f := range c.Findings {
		p.log.Info("converted", "step", f.Step, "class", f.Class, "path", f.Path, "line", f.Line, "what", f.What, "next", f.Next)
	}
}

func prepared(setDir string, r tree.Report) pid1.Prepared {
	out := pid1.Prepared{Note: treeNote(r)}
	c := cmp.Or(r.Converted, r.Earlier)
	if c == nil {
		return out
	}
	out.Findings = func(server string) []initapi.Finding { return c.Told(server) }
	out.Standing = func(server string) []initapi.Finding {
		if now, err := tree.Standing(setDir); err == nil && now != nil {
			return now.Told(server)
		}
		return nil
	}
	return out
}

// treeNote tells in short what became of /etc.
func treeNote(r tree.Report) string {
	switch {
	case r.First:
		return "first use of the set"
	case r.From == "":
		return ""
	}
	note := "configuration of " + r.From + " taken over: "
	if c := r.Converted; c != nil {
		note += c.Note() + "; the rest: "
	}
	return note + fmt.Sprintf("%d updated, %d added, %d removed, %d conflicts", len(r.Updated), len(r.Added), len(r.Removed), len(r.Conflicts))
}

// convertTree runs the helper.
func convertTree(ctx context.Context, setDir, imageDir, version string) (tree.Report, error) {
	return runHelper(ctx, filepath.Join(layout.LibDir, "init"), prepareVerb, setDir, imageDir, version)
}

// runHelper runs it. All that it has started ends with it: what comes after begins anew in the same place.
func runHelper(ctx context.Context, path string, args ...string) (tree.Report, error) {
	var r tree.Report
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/root"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out, words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &words
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	if err != nil {
		if cmd.Process != nil {
			_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // what it had running when it ended
		}
		text := strings.TrimSpace(words.String())
		return r, fmt.Errorf("%w: %s", err, text[:min(len(text), 500)])
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return r, fmt.Errorf("answer of the helper: %w", err)
	}
	return r, nil
}

// prepare is the helper.
func prepare(ctx context.Context, args []string, out io.Writer) error {
	if len(args) != 3 {
		return errors.New("prepare: takes the directories of the set and of the image, and the image's version; only process 1 calls this")
	}
	setDir, imageDir := args[0], args[1]
	packs, err := pack.LoadAll(filepath.Join(imageDir, layout.PacksDir))
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	shared, err := sharedBy(filepath.Join(setDir, layout.SetEtc, "current"), packs)
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	c := tree.Conversion{Steps: append(steps.All(), vendor.Steps(packs, vendor.Sandboxed)...), Shared: shared}
	r, err := tree.Prepare(ctx, setDir, imageDir, args[2], c)
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	if err := json.NewEncoder(out).Encode(r); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	return nil
}

// sharedBy tells what conversion looks after, by the packs that the site runs: what the Synchronizer carries, and the files behind what it
// carries as an export (OpenLDAP's cn=config). By all packs, if the site's settings cannot be read.
func sharedBy(etc string, packs []pack.Pack) (func(state.Path) bool, error) {
	if conf, err := siteconf.LoadSite(etc); err == nil {
		chosen := pack.Choose(packs, conf).Packs
		for _, p := range packs {
			if p.Scope == pack.ScopeServer {
				chosen = append(chosen, p)
			}
		}
		packs = chosen
	}
	rules, err := class.New(packs)
	if err != nil {
		return nil, err
	}
	var exported []state.Path
	for _, p := range packs {
		for _, x := range p.Exports {
			for _, w := range x.Watch {
				if q := state.Path(strings.Trim(w, "/")); q.Under("etc") && !strings.Contains(w, "{{") {
					exported = append(exported, q)
				}
			}
		}
	}
	return func(p state.Path) bool {
		c := rules.Classify(p)
		return c == class.Shared || c == class.Derived && slices.ContainsFunc(exported, p.Under)
	}, nil
}
