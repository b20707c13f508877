package siteconf

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"sayasystems.com/atlas/image/settings"
)

// SetServices writes the list of services into site.yaml below etc, durably. All else in the file stays as people have written it,
// comments and blank lines too.
func SetServices(etc string, services []string) error {
	path := filepath.Join(etc, SiteFile)
	st, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("change the services: %w", err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("change the services: %w", err)
	}
	edited, err := editServices(path, data, services)
	if err != nil {
		return fmt.Errorf("change the services: %w", err)
	}
	return WriteFile(path, edited, st.Mode().Perm())
}

// editServices changes single lines if that gives what is wanted, else writes the file anew from its nodes, which keeps comments
// and not blank lines.
func editServices(name string, data []byte, services []string) ([]byte, error) {
	var want Site
	if _, err := settings.Parse(name, data, &want); err != nil {
		return nil, err
	}
	want.Services = services
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	if len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New(name + " has no keys")
	}
	key, value := find(doc.Content[0], "services")
	for _, edit := range []func() ([]byte, error){
		func() ([]byte, error) { return editLines(data, key, value, services), nil },
		func() ([]byte, error) { return editNodes(&doc, value, services) },
	} {
		out, err := edit()
		if err != nil {
			return nil, err
		}
		var got Site
		if f, err := settings.Parse(name, out, &got); err == nil && got.check(f) == nil && reflect.DeepEqual(got, want) {
			return out, nil
		}
	}
	return nil, fmt.Errorf("the list in %s is written in a way that cannot be changed by itself; write it as `services: [%s]`", name, strings.Join(services, ", "))
}

func find(m *yaml.Node, key string) (k, v *yaml.Node) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if strings.EqualFold(m.Content[i].Value, key) {
			return m.Content[i], m.Content[i+1]
		}
	}
	return nil, nil
}

// editLines changes the lines of the list alone; nil if it cannot.
func editLines(data []byte, key, value *yaml.Node, services []string) []byte {
	lines := strings.SplitAfter(string(data), "\n")
	switch {
	case key == nil:
		text := string(data)
		if !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		return []byte(text + "services: [" + strings.Join(services, ", ") + "]\n")
	case value.Kind != yaml.SequenceNode || len(value.Content) == 0:
		return nil
	case value.Style&yaml.FlowStyle != 0:
		last := value.Content[len(value.Content)-1]
		line := lines[value.Line-1]
		from, to := value.Column-1, strings.LastIndex(line[:comment(line)], "]")
		if last.Line != value.Line || from >= len(line) || line[from] != '[' || to < from {
			return nil
		}
		lines[value.Line-1] = line[:from+1] + strings.Join(services, ", ") + line[to:]
		return []byte(strings.Join(lines, ""))
	}
	var have []string
	last := value.Content[len(value.Content)-1]
	start, _, _ := strings.Cut(lines[last.Line-1], "-")
	if strings.TrimSpace(start) != "" {
		return nil
	}
	for _, e := range value.Content {
		have = append(have, e.Value)
	}
	var added strings.Builder
	for _, s := range services {
		if !slices.Contains(have, s) {
			added.WriteString(start + "- " + s + "\n")
		}
	}
	if !strings.HasSuffix(lines[last.Line-1], "\n") {
		lines[last.Line-1] += "\n"
	}
	keep := slices.Contains(services, last.Value)
	if !keep {
		lines[last.Line-1] = ""
	}
	lines[last.Line-1] += added.String()
	for _, e := range value.Content[:len(value.Content)-1] {
		if !slices.Contains(services, e.Value) {
			lines[e.Line-1] = ""
		}
	}
	return []byte(strings.Join(lines, ""))
}

// comment is where a line's comment begins, its length if it has none.
func comment(line string) int {
	if i := strings.Index(line, " #"); i >= 0 {
		return i
	}
	return len(line)
}

func editNodes(doc, value *yaml.Node, services []string) ([]byte, error) {
	var list yaml.Node
	if err := list.Encode(services); err != nil {
		return nil, err
	}
	if value == nil {
		doc.Content[0].Content = append(doc.Content[0].Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "services"}, &list)
	} else {
		for i, n := range list.Content { // an entry that stays keeps its comment
			for _, old := range value.Content {
				if old.Value == n.Value {
					list.Content[i] = old
				}
			}
		}
		value.Kind, value.Tag, value.Value, value.Content = list.Kind, list.Tag, "", list.Content
	}
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := e.Encode(doc); err != nil {
		return nil, err
	}
	return out.Bytes(), e.Close()
}
