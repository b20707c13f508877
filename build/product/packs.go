package product

import (
	"fmt"
	"slices"
	"strings"

	"sayasystems.com/atlas/build/profile"
	"sayasystems.com/atlas/image/pack"
	"sayasystems.com/atlas/sentry/verify"
)

// loadPacks reads the packs that the profile wants. What they need must be among them, and none may exclude another. A mistake is told
// with the file and line of the profile, or of the pack.
func loadPacks(standard string, p profile.Profile) ([]pack.Pack, error) {
	all, err := pack.LoadAll(append([]string{standard}, p.PackDirs...)...)
	if err != nil {
		return nil, err
	}
	for _, l := range []struct {
		key   string
		names []string
	}{{"packs", p.Packs}, {"with", p.With}, {"without", p.Without}} {
		for i, n := range l.names {
			if !slices.ContainsFunc(all, func(k pack.Pack) bool { return k.Name == n }) {
				return nil, p.Errorf(fmt.Sprintf("%s[%d]", l.key, i), "no pack is called %s; known: %s", n, names(all))
			}
		}
	}
	wanted := func(k pack.Pack) bool {
		if len(p.Packs) > 0 {
			return slices.Contains(p.Packs, k.Name)
		}
		return !slices.Contains(p.Without, k.Name) && (k.Default != pack.Absent || slices.Contains(p.With, k.Name))
	}
	var out []pack.Pack
	in := map[string]bool{}
	for _, k := range all { // each stands after what it needs
		if !wanted(k) {
			continue
		}
		if err := checkProbes(k); err != nil {
			return nil, err
		}
		for _, n := range k.Along() {
			if !in[n] {
				return nil, p.Errorf(p.Choice(k.Name, n), "pack %s needs %s, which is left out; put %s in or leave %s out too", k.Name, n, n, k.Name)
			}
		}
		for _, n := range out {
			if (slices.Contains(k.Conflicts, n.Name) || slices.Contains(n.Conflicts, k.Name)) && (k.Default == pack.Absent || n.Default == pack.Absent) {
				return nil, p.Errorf(p.Choice(k.Name, n.Name), "the packs %s and %s exclude each other; put one of them under `without`", n.Name, k.Name)
			}
		}
		in[k.Name] = true
		out = append(out, k)
	}
	return out, nil
}

// checkProbes holds a pack's probes against the kinds that sentry has.
func checkProbes(k pack.Pack) error {
	for i, pr := range k.Probes {
		if _, ok := verify.Kinds()[pr.Kind]; !ok {
			var known []string
			for n := range verify.Kinds() {
				known = append(known, n)
			}
			slices.Sort(known)
			return k.Errorf(fmt.Sprintf("probes[%d].kind", i), "%q is not a kind of probe; known: %v", pr.Kind, known)
		}
		if err := verify.CheckParams(pr.Kind, pr.Params); err != nil {
			return k.Errorf(fmt.Sprintf("probes[%d].params", i), "%v", err)
		}
	}
	return nil
}

func names(all []pack.Pack) string {
	var out []string
	for _, k := range all {
		out = append(out, k.Name)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}
