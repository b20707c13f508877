package e2e

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sayasystems.com/atlas/image/settings"
	judgedsite "sayasystems.com/atlas/sentry/site"
)

// drill is a fault that is planted in a running site, and what the site must say of it. They stand in testdata/drill, some files with a list each;
// to add one is to add an entry there. In all of its texts {twin} and {primary} are the names of the servers, {on} is the one that it is planted on.
type drill struct {
	Name  string `yaml:"name"`
	Class string `yaml:"class"` // what kind of fault it is: "dead", "hung", …
	On    string `yaml:"on"`    // "twin" or "primary"

	Run      string   `yaml:"run"`       // script there, with the words of drillWords
	ThenTwin string   `yaml:"then_twin"` // script on the twin after it
	Lab      []string `yaml:"lab"`       // or else a command of the lab
	Undo     string   `yaml:"undo"`
	UndoTwin string   `yaml:"undo_twin"`
	LabUndo  []string `yaml:"lab_undo"`

	Service string   `yaml:"service"` // whose doing it is: whatever fails of this one is part of it
	First   string   `yaml:"first"`   // regexp: the name of the first reason why a swap would not work
	Says    string   `yaml:"says"`    // regexp: its words and its evidence
	Healed  string   `yaml:"healed"`  // regexp: or else the finding's words by which it is told that the fault was put right without anybody
	Beside  []string `yaml:"beside"`  // regexps: names of what else may be told
	Verdict string   `yaml:"verdict"` // "no" if not given, "unknown", or "any"
	Judge   string   `yaml:"judge"`   // "twin" or "primary": only this server has to tell; both if not given
	Within  string   `yaml:"within"`  // how long it may take; a minute if not given
	Lasts   bool     `yaml:"lasts"`   // it stays through a swap

	file string // that it stands in
}

// drillWords are commands for the scripts of drills. Nothing that they do lasts longer than the server runs.
const drillWords = `
named() { for d in /proc/[0-9]*; do read -r c <$d/comm 2>/dev/null && [ "$c" = "$1" ] && echo ${d#/proc/}; done; true; }
all() { s=$1; shift; n=; for c in "$@"; do for p in $(named "$c"); do kill -$s $p && n=1; done; done; [ -n "$n" ] || { echo "no process is called $*" >&2; return 1; }; }
freeze() { all STOP "$@"; }
thaw() { all CONT "$@"; }
end() { all KILL "$@"; }
hide() { [ ! -e "$1" ] || mount --bind /dev/null "$1"; }
show() { if mountpoint -q "$1"; then umount -l "$1"; fi; }
# over FILE TEXT: the file has this text, and its own owner and mode.
over() { t=$(mktemp /run/drill.XXXXXX); printf '%s\n' "$2" >$t; chown --reference="$1" $t; chmod --reference="$1" $t; mount --bind $t "$1"; }
ro() { mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"; }
# full DIR: what is in it is still there, and not one byte more fits.
full() { t=$(mktemp -d /run/drill.XXXXXX); cp -a "$1/." $t/; mount -t tmpfs -o size=2m tmpfs "$1"; chown --reference=$t "$1"; chmod --reference=$t "$1"; cp -a $t/. "$1/"
	dd if=/dev/zero of="$1/.filled" bs=4k 2>/dev/null || true; rm -r $t; }
table() { nft list table inet drill >/dev/null 2>&1 || nft -f - <<X
table inet drill {
	chain in { type filter hook input priority -50; }
	chain out { type filter hook output priority -50; }
}
X
}
block() { table; nft add rule inet drill in "$1" dport $2 drop; }
refuse() { table; nft add rule inet drill in "$1" dport $2 reject with tcp reset; }
block_from() { table; nft add rule inet drill in iifname $1 "$2" dport $3 drop; }
lossy() { table; for c in in out; do nft add rule inet drill $c "meta l4proto { tcp, udp } numgen random mod 100 < $1 drop"; done; }
mute() { table; nft add rule inet drill out oifname eth0 drop; }
unblock() { nft delete table inet drill; }
group() { p=$(named "$1" | head -n 1); echo /sys/fs/cgroup$(sed -n s/^0:://p /proc/$p/cgroup); }
limit() { echo "$3" >"$(group $1)/$2"; }
pg() { (cd /; setpriv --reuid postgres --regid postgres --init-groups psql -q -v ON_ERROR_STOP=1 -d "$1" -c "$2" >/dev/null); }
ldapset() { printf 'dn: %s\nchangetype: modify\n%s: %s\n%s: %s\n' "$1" "$2" "$3" "$3" "$4" | ldapmodify -Q -Y EXTERNAL -H ldapi:/// >/dev/null; }
`

// with puts the servers' names into a text of d.
func (d drill) with(text, primary, twin string) string {
	on := twin
	if d.On == "primary" {
		on = primary
	}
	return strings.NewReplacer("{on}", on, "{twin}", twin, "{primary}", primary).Replace(text)
}

func (d drill) within() time.Duration {
	if d.Within == "" {
		return time.Minute
	}
	v, _ := time.ParseDuration(d.Within) // looked at when it was read
	return v
}

// loadDrills reads the table.
func loadDrills(t *testing.T) []drill {
	t.Helper()
	files, err := filepath.Glob("testdata/drill/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no drills: %v", err)
	}
	var all []drill
	seen := map[string]bool{}
	for _, name := range files {
		var list struct {
			Faults []drill `yaml:"faults"`
		}
		if _, err := settings.Load(name, &list); err != nil {
			t.Fatal(err)
		}
		for i, d := range list.Faults {
			d.file = strings.TrimSuffix(filepath.Base(name), ".yaml")
			if err := d.mistake(); err != nil {
				t.Errorf("%s: faults[%d] %q: %v", name, i, d.Name, err)
			}
			if seen[d.Name] {
				t.Errorf("%s: %q stands there twice", name, d.Name)
			}
			seen[d.Name] = true
			all = append(all, d)
		}
	}
	return all
}

// mistake tells what is wrong with an entry of the table.
func (d drill) mistake() error {
	for _, x := range append([]string{d.First, d.Says, d.Healed}, d.Beside...) {
		if _, err := regexp.Compile(d.with(x, "left", "right")); err != nil {
			return err
		}
	}
	_, err := time.ParseDuration(cmpOr(d.Within, "1m"))
	switch {
	case d.Name == "" || d.Class == "" || d.First == "" || d.Says == "":
		return fmt.Errorf("it must have name, class, first and says: %+v", d)
	case (d.Run == "") == (len(d.Lab) == 0) || (d.Undo == "") == (len(d.LabUndo) == 0):
		return fmt.Errorf("it must have run and undo, or lab and lab_undo: %+v", d)
	case d.On != "twin" && d.On != "primary":
		return fmt.Errorf("on is twin or primary, not %q", d.On)
	case !slices.Contains([]string{"", "twin", "primary"}, d.Judge), !slices.Contains([]string{"", "no", "unknown", "any"}, d.Verdict):
		return fmt.Errorf("judge is twin or primary, verdict is no, unknown or any: %q, %q", d.Judge, d.Verdict)
	}
	return err
}

// told is what a server says while a drill is on.
type drillTold struct {
	first, verdict, words string
	alarms                []string // what is told and is not d's
}

// read judges what a server says: whether it is what d wants, and what else is told.
func (d drill) read(s judgedsite.Site, known map[string]bool, planted time.Time, primary, twin string) (out drillTold, right bool) {
	out.verdict = s.Readiness.Verdict
	match := func(pattern, text string) bool {
		return regexp.MustCompile(d.with(pattern, primary, twin)).MatchString(text)
	}
	mine := func(id string) bool {
		return match(d.First, id) || d.Service != "" && match("^(probe-{on}-"+d.Service+"-|service-(failed-)?"+d.Service+"-{on}$)", id) || slices.ContainsFunc(d.Beside, func(b string) bool { return match(b, id) })
	}
	explained := map[string]bool{}
	for i, r := range s.Readiness.Reasons {
		if i == 0 {
			out.first, out.words = r.ID, r.Text+" "+r.Evidence
		}
		for _, e := range r.Explains {
			explained[e] = true
		}
		if !mine(r.ID) {
			out.alarms = append(out.alarms, r.ID+": "+r.Text)
		}
	}
	healed := false
	for _, f := range s.Findings {
		if d.Healed != "" && !f.Since.Before(planted) && match("^sync-local-change", f.ID) && match(d.Healed, f.What) {
			healed = true
			out.first, out.words = f.ID, f.What
		}
		if f.Severity == "critical" && !known[f.ID] && !explained[f.ID] && !mine(f.ID) && !slices.ContainsFunc(s.Readiness.Reasons, func(r judgedsite.Reason) bool { return r.ID == f.ID }) {
			out.alarms = append(out.alarms, f.ID+": "+f.What)
		}
	}
	want := cmpOr(d.Verdict, "no")
	return out, healed || len(s.Readiness.Reasons) > 0 && match(d.First, out.first) && match(d.Says, out.words) && (want == "any" || out.verdict == want)
}

// TestDrillTable: each entry is whole, and would not take a site that is ready, nor one that says something else, for right.
func TestDrillTable(t *testing.T) {
	all := loadDrills(t)
	if len(all) < 80 {
		t.Errorf("%d faults; 80 at least are wanted", len(all))
	}
	classes := map[string]int{}
	for _, d := range all {
		classes[d.Class]++
		if _, right := d.read(judgedsite.Site{Readiness: judgedsite.Readiness{Ready: true, Verdict: "yes"}}, nil, time.Time{}, "left", "right"); right {
			t.Errorf("%s: a site that is ready is taken for one that has found it", d.Name)
		}
		other := judgedsite.Site{Readiness: judgedsite.Readiness{Verdict: "no", Reasons: []judgedsite.Reason{{ID: "set-degraded-left", Text: "LEFT's disk set is not whole."}}}}
		if _, right := d.read(other, nil, time.Time{}, "left", "right"); right {
			t.Errorf("%s: another finding is taken for it", d.Name)
		}
	}
	t.Logf("%d faults of %d classes: %v", len(all), len(classes), classes)
}
