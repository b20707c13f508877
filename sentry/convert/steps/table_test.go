package steps

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReadme: README's table is what the steps say of themselves.
func TestReadme(t *testing.T) {
	data, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, begun := strings.Cut(string(data), "<!-- conversions -->\n")
	table, _, ended := strings.Cut(rest, "<!-- end of conversions -->\n")
	if !begun || !ended {
		t.Fatal("README.md has no place for the table: <!-- conversions --> … <!-- end of conversions -->")
	}
	if d := cmp.Diff(Table(All()), table); d != "" {
		t.Errorf("README's table of conversions is old; put what `build conversions` prints between its two remarks (-want +got):\n%s", d)
	}
}

func TestTable(t *testing.T) {
	rows := strings.Split(Table(SSH()), "\n")
	if want := "| ssh | 11 ↔ 12 | sshd: Challenge"; !strings.HasPrefix(rows[2], want) || !strings.Contains(rows[2], " | renamed | yes | ") {
		t.Errorf("row %q; want it to begin with %q", rows[2], want)
	}
	if len(rows) != len(SSH())+3 {
		t.Errorf("%d rows of %d steps", len(rows), len(SSH()))
	}
}
