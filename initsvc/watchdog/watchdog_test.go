package watchdog

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestChoose(t *testing.T) {
	for _, tt := range []struct {
		name string
		ids  []string
		want string
	}{
		{"none", nil, ""},
		{"one", []string{"Software Watchdog"}, "Software Watchdog"},
		{"chipset and card", []string{"iTCO_wdt", "i6300ESB timer"}, "i6300ESB timer"},
		{"management controller", []string{"i6300ESB timer", "IPMI", "iTCO_wdt"}, "IPMI"},
		{"unknown before software", []string{"Software Watchdog", "Vendor's own"}, "Vendor's own"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			class := t.TempDir()
			for i, id := range tt.ids {
				dir := filepath.Join(class, "watchdog"+string(rune('0'+i)))
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, "identity"), []byte(id+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got, err := Choose(class, "/dev")
			if got.Identity != tt.want {
				t.Errorf("Choose = %+v; want %q", got, tt.want)
			}
			if (tt.want == "") != errors.Is(err, ErrNone) {
				t.Errorf("Choose error = %v", err)
			}
		})
	}
}
