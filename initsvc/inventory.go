package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"sayasystems.com/atlas/hwcheck"
	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/image/siteconf"
)

// baselineFile, in the state partition, is the hardware as it was when it was last as it should be.
const baselineFile = "hwbaseline.json"

// inventoryOutput is what the helper prints.
type inventoryOutput struct {
	Inventory hwcheck.Inventory `json:"inventory"`
	Findings  []hwcheck.Finding `json:"findings"`
}

// inventory takes the inventory, compares it with the baseline, and makes that at the first time.
func inventory(ctx context.Context, args []string, out io.Writer) error {
	fl := flag.NewFlagSet("inventory", flag.ContinueOnError)
	fl.SetOutput(out)
	state := fl.String("state", layout.StateDir, "the server's state `directory`")
	if err := fl.Parse(args); err != nil {
		return fmt.Errorf("inventory: %w", err)
	}
	o := hwcheck.Options{}
	if s, err := siteconf.LoadServer(*state); err == nil {
		o.Server = s.Name
		for _, b := range s.Bays {
			o.Bays = append(o.Bays, hwcheck.Bay{Number: b.Number, Path: b.Path})
		}
	}
	inv, err := hwcheck.Take(ctx, o)
	if err != nil {
		return err
	}
	res := inventoryOutput{Inventory: inv, Findings: append([]hwcheck.Finding{}, inv.Problems...)}
	path := filepath.Join(*state, baselineFile)
	old, err := hwcheck.Load(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		data, err := json.MarshalIndent(inv, "", "  ")
		if err != nil {
			return fmt.Errorf("inventory: %w", err)
		}
		if err := siteconf.WriteFile(path, data, 0o644); err != nil {
			return fmt.Errorf("inventory: baseline: %w", err)
		}
	case err != nil:
		res.Findings = append(res.Findings, hwcheck.Finding{
			ID: "hw-baseline-unreadable", Severity: hwcheck.Warning, What: "The hardware cannot be compared with how it was: " + err.Error() + ".",
			Next: "Delete the file; the next start takes the hardware as it is then as the new baseline.",
		})
	default:
		res.Findings = append(res.Findings, hwcheck.Baseline(old, inv)...)
	}
	if err := json.NewEncoder(out).Encode(res); err != nil {
		return fmt.Errorf("inventory: %w", err)
	}
	return nil
}
