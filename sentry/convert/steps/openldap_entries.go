package steps

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"sayasystems.com/atlas/sentry/convert/conf"
)

// sortClasses has the classes of an entry in order again: the text that the pack exports is sorted, and compared with what slapd makes of it.
func sortClasses(d *conf.LDIF, entry int) {
	var lines []*conf.LDIFLine
	var values []string
	for _, l := range d.Lines {
		if l.Entry == entry && strings.EqualFold(l.Name, "objectClass") {
			lines, values = append(lines, l), append(values, l.Value)
		}
	}
	slices.Sort(values)
	if slices.Contains(values, "olcMdbConfig") {
		for i, l := range lines {
			if l.Value != values[i] {
				l.Set(values[i])
			}
		}
	}
}

// number counts the modules of an entry anew, as slapd does.
func number(d *conf.LDIF, entry int) {
	n := 0
	for _, l := range d.Lines {
		if l.Entry != entry || !strings.EqualFold(l.Name, "olcModuleLoad") {
			continue
		}
		if m := moduleValue.FindStringSubmatch(l.Value); m != nil && m[1] != "" {
			if now := fmt.Sprintf("{%d}", n) + l.Value[len(m[1]):]; now != l.Value {
				l.Set(now)
			}
		}
		n++
	}
}

// moduleName is a module's without number, folder and ending.
func moduleName(value string) string {
	m := moduleValue.FindStringSubmatch(value)
	if m == nil {
		return ""
	}
	return m[3]
}

func withModule(value, name string) string {
	m := moduleValue.FindStringSubmatch(value)
	return m[1] + m[2] + name + m[4] + m[5]
}

var schemaNumber = regexp.MustCompile(`^cn=\{\d+\}([^,]*),cn=schema,cn=config$`)

// numberSchemas counts the schemas anew, as slapadd does.
func numberSchemas(d *conf.LDIF) {
	n, entry := -1, -1
	for _, l := range d.Lines {
		switch m := schemaNumber.FindStringSubmatch(l.Value); {
		case strings.EqualFold(l.Name, "dn") && m != nil:
			n, entry = n+1, l.Entry
			if now := fmt.Sprintf("cn={%d}%s,cn=schema,cn=config", n, m[1]); now != l.Value {
				l.Set(now)
			}
		case l.Entry == entry && strings.EqualFold(l.Name, "cn"):
			if _, name, ok := strings.Cut(l.Value, "}"); ok && l.Value != fmt.Sprintf("{%d}%s", n, name) {
				l.Set(fmt.Sprintf("{%d}%s", n, name))
			}
		}
	}
}
