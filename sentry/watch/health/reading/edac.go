package reading

import (
	"cmp"
	"slices"
	"strings"
)

// DIMM is what the memory controller has counted of one memory module since the server was started (Documentation/admin-guide/RAS).
type DIMM struct {
	Name          string `json:"name"` // as the board calls it, "DIMM_A1", or "mc0 dimm2"
	Corrected     uint64 `json:"corrected,omitempty"`
	Uncorrectable uint64 `json:"uncorrectable,omitempty"`
}

// ECC reads /sys/devices/system/edac/mc; ErrAbsent where nothing counts.
func (r Root) ECC() ([]DIMM, error) {
	const base = "sys/devices/system/edac/mc"
	var out []DIMM
	controllers := 0
	for _, mc := range r.names(base) {
		if !strings.HasPrefix(mc, "mc") || !r.exists(base, mc, "ce_count") {
			continue
		}
		controllers++
		var ce, ue uint64
		for _, d := range r.names(base, mc) {
			if !strings.HasPrefix(d, "dimm") && !strings.HasPrefix(d, "rank") {
				continue
			}
			m := DIMM{Name: cmp.Or(r.word(base, mc, d, "dimm_label"), mc+" "+d), Corrected: r.count(base, mc, d, "dimm_ce_count"), Uncorrectable: r.count(base, mc, d, "dimm_ue_count")}
			ce, ue = ce+m.Corrected, ue+m.Uncorrectable
			out = append(out, m)
		}
		// What the controller could not tie to a module.
		rest := DIMM{Name: "a module that the board does not name (" + mc + ")"}
		if all := r.count(base, mc, "ce_count"); all > ce {
			rest.Corrected = all - ce
		}
		if all := r.count(base, mc, "ue_count"); all > ue {
			rest.Uncorrectable = all - ue
		}
		if rest.Corrected+rest.Uncorrectable > 0 {
			out = append(out, rest)
		}
	}
	if controllers == 0 {
		return nil, ErrAbsent
	}
	slices.SortFunc(out, func(a, b DIMM) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}
