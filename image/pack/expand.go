package pack

import (
	"fmt"
	"reflect"
	"strings"
)

// Expand replaces {{.Name}} by the field Name of v. There is nothing but names: no pipelines, conditions or functions, so that
// a pack cannot hide logic in its data. An unknown name or an unclosed {{ is an error.
func Expand(s string, v Vars) (string, error) {
	if !strings.Contains(s, "{{") {
		return s, nil
	}
	fields := reflect.ValueOf(v)
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, "{{")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		name, after, closed := strings.Cut(rest, "}}")
		if !closed {
			return "", fmt.Errorf("%q is not closed by }}", "{{"+firstLine(rest))
		}
		field, dotted := strings.CutPrefix(strings.TrimSpace(name), ".")
		if _, ok := fields.Type().FieldByName(field); !dotted || !ok {
			return "", fmt.Errorf("{{%s}} is not a known variable; known: %s", firstLine(name), strings.Join(variables(), ", "))
		}
		b.WriteString(fields.FieldByName(field).String())
		s = after
	}
}

// ExpandAll expands every string of list.
func ExpandAll(list []string, v Vars) ([]string, error) {
	out := make([]string, 0, len(list))
	for _, s := range list {
		x, err := Expand(s, v)
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}

func variables() []string {
	t := reflect.TypeFor[Vars]()
	var out []string
	for f := range t.Fields() {
		out = append(out, "{{."+f.Name+"}}")
	}
	return out
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	if len(s) > 40 {
		s = s[:40] + "…"
	}
	return s
}
