package main

import (
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/initapi"
)

func (a *app) setCommand() *cobra.Command {
	c := &cobra.Command{Use: "set", Short: "The disk set in this server"}
	c.AddCommand(a.addCommand(), a.startCommand())
	return c
}

func (a *app) addCommand() *cobra.Command {
	var serial string
	c := &cobra.Command{
		Use: "add BAY", Short: "Take the disk in a bay into the started set and rebuild it", Args: cobra.ExactArgs(1),
		Long: "Take the disk in a bay into the started set and rebuild it. All that is on the disk is lost. A disk that is not blank must be named by its serial number as well.",
		RunE: func(cmd *cobra.Command, args []string) error {
			bay, err := strconv.Atoi(args[0])
			if err != nil || bay < 1 {
				return fmt.Errorf("set add %s: a bay is a number, as printed on the front", args[0])
			}
			if err := a.init.Add(cmd.Context(), initapi.AddRequest{Bay: bay, Serial: serial}); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "The disk in bay %d is being taken into the set; `atlas status` shows the progress.\n", bay)
			return nil
		},
	}
	c.Flags().StringVar(&serial, "serial", "", "serial `number` of the disk, when it is not blank: what is on it is lost")
	return c
}

// candidate is a set of which disks are here.
type candidate struct {
	label   roles.Label // newest
	disks   []roles.Disk
	members []string
}

func (a *app) startCommand() *cobra.Command {
	var set string
	var bays []int
	c := &cobra.Command{
		Use: "start", Short: "Start a disk set although this server holds it back", Args: cobra.NoArgs,
		Long: "Start a disk set although this server holds it back, for this one time and with the disks that you name. Members that are not named " +
			"are recorded as having left: what is only on them is lost. Needed when half of a set is in another place, or broken.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := a.init.State(cmd.Context())
			if err != nil {
				return err
			}
			if st.State != initapi.Holding {
				return fmt.Errorf("set start: this server is %s; only a server that holds its disks back takes such an order", st.State)
			}
			for _, r := range st.Reasons {
				fmt.Fprintf(a.out, "%s\n  → %s\n", r.Text, r.Next)
			}
			k, err := choose(candidates(st.Disks), set, bays)
			if err != nil {
				return err
			}
			a.explain(k)
			word := "start " + strings.Join(bayWords(k.disks), " ")
			fmt.Fprintf(a.out, "\nTo do this, type: %s\n> ", word)
			line, err := a.in.ReadString('\n')
			if strings.Join(strings.Fields(line), " ") != word {
				return errors.Join(errors.New("set start: not confirmed; nothing was done"), err)
			}
			if err := a.init.Order(cmd.Context(), roles.Order{Set: k.label.Set, Members: k.members}); err != nil {
				return err
			}
			fmt.Fprintln(a.out, "Ordered. `atlas status` shows how it goes.")
			return nil
		},
	}
	c.Flags().StringVar(&set, "set", "", "beginning of the set's `id`, when disks of several sets are here")
	c.Flags().IntSliceVar(&bays, "bays", nil, "`bays` of the disks to start with; all of the set's if not given")
	return c
}

// candidates groups the disks by set.
func candidates(disks []roles.Disk) []candidate {
	by := map[string]*candidate{}
	for _, d := range disks {
		l := d.Label
		if l == nil || l.Self < 0 || l.Self >= len(l.Members) {
			continue
		}
		c := by[l.Set]
		if c == nil {
			c = &candidate{label: *l}
			by[l.Set] = c
		}
		if l.Generation > c.label.Generation {
			c.label = *l
		}
		c.disks = append(c.disks, d)
		c.members = append(c.members, l.Members[l.Self].ID)
	}
	out := make([]candidate, 0, len(by))
	for _, c := range by {
		out = append(out, *c)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].label.Set < out[j].label.Set })
	return out
}

// choose picks the set and the disks that the flags name.
func choose(all []candidate, set string, bays []int) (candidate, error) {
	var fit []candidate
	for _, c := range all {
		if strings.HasPrefix(c.label.Set, set) {
			fit = append(fit, c)
		}
	}
	switch {
	case len(fit) == 0:
		return candidate{}, errors.New("set start: there is no such set in this server")
	case len(fit) > 1:
		var words []string
		for _, c := range fit {
			words = append(words, fmt.Sprintf("%s (%s, bays %s)", c.label.Set[:min(8, len(c.label.Set))], c.label.Role, strings.Join(bayWords(c.disks), " ")))
		}
		return candidate{}, fmt.Errorf("set start: disks of several sets are here; name one with --set: %s", strings.Join(words, ", "))
	}
	c := fit[0]
	if len(bays) == 0 {
		return c, nil
	}
	want := map[int]bool{}
	for _, b := range bays {
		want[b] = true
	}
	picked := candidate{label: c.label}
	for i, d := range c.disks {
		if want[d.Bay] {
			picked.disks, picked.members = append(picked.disks, d), append(picked.members, c.members[i])
			delete(want, d.Bay)
		}
	}
	for b := range want {
		return candidate{}, fmt.Errorf("set start: there is no disk of this set in bay %d", b)
	}
	return picked, nil
}

func (a *app) explain(k candidate) {
	fmt.Fprintf(a.out, "\nThe %s set of %s (%s, generation %d, last used by %s) would be started with:\n", k.label.Role, k.label.SiteName, k.label.Level, k.label.Generation, k.label.Server)
	in := map[string]bool{}
	for i, d := range k.disks {
		in[k.members[i]] = true
		fmt.Fprintf(a.out, "  bay %d  %s  %s (generation %d)\n", d.Bay, d.Serial, d.Model, d.Label.Generation)
	}
	for _, m := range k.label.Members {
		if !in[m.ID] && m.Ejected == 0 {
			fmt.Fprintf(a.out, "  WITHOUT %s %s: it is recorded as having left, and what is only on it is lost\n", m.Serial, m.Model)
		}
	}
	fmt.Fprintln(a.out, "Make sure that the disks left out do not serve in another server.")
}

func bayWords(disks []roles.Disk) []string {
	var out []string
	for _, d := range disks {
		out = append(out, strconv.Itoa(d.Bay))
	}
	sort.Strings(out)
	return out
}
