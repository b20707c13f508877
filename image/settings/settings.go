// Package settings reads the YAML files that people write (profile, install.yaml, site.yaml, pack.yaml) strictly: unknown keys,
// wrong types and broken YAML are errors that name file, line and key. Values come through viper; the line numbers come from
// the YAML nodes. It does not know any file's meaning: each reader checks its own values and uses Error to point at one.
package settings

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

// MaxSize is the largest file that Parse accepts, in bytes.
const MaxSize = 1 << 20

// Error is a mistake in a settings file, told by file, line (1-based; 0 = whole file) and key ("" = none).
type Error struct {
	File string
	Line int
	Key  string
	Msg  string
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	b.WriteString(": ")
	if e.Key != "" {
		fmt.Fprintf(&b, "%s: ", e.Key)
	}
	b.WriteString(e.Msg)
	return b.String()
}

// File is a parsed settings file: it remembers where each key stands.
type File struct {
	Name  string
	lines map[string]int
	v     *viper.Viper
}

// Load reads the file at path into out, a pointer to a struct with `yaml` tags.
func Load(path string, out any) (*File, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	if st.Size() > MaxSize {
		return nil, &Error{File: path, Msg: fmt.Sprintf("is %d bytes long, more than the %d allowed", st.Size(), MaxSize)}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	return Parse(path, data, out)
}

// Parse decodes data, called name in errors, into out, a pointer to a struct with `yaml` tags. Keys that the struct does not
// have are errors; so are duplicate keys and values of the wrong type. Keys are compared without regard to case.
func Parse(name string, data []byte, out any) (*File, error) {
	f := &File{Name: name, lines: map[string]int{}}
	if len(data) > MaxSize {
		return f, &Error{File: name, Msg: fmt.Sprintf("is %d bytes long, more than the %d allowed", len(data), MaxSize)}
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return f, yamlError(name, err)
	}
	if len(doc.Content) == 0 {
		return f, &Error{File: name, Msg: "is empty"}
	}
	if doc.Content[0].Kind != yaml.MappingNode {
		return f, &Error{File: name, Line: doc.Content[0].Line, Msg: "must be a list of `key: value` lines"}
	}
	if err := f.index("", doc.Content[0]); err != nil {
		return f, err
	}
	if err := f.unknown("", doc.Content[0], reflect.TypeOf(out)); err != nil {
		return f, err
	}
	f.v = viper.NewWithOptions(viper.KeyDelimiter("\x1f"))
	f.v.SetConfigType("yaml")
	if err := f.v.ReadConfig(bytes.NewReader(data)); err != nil {
		return f, yamlError(name, err)
	}
	if err := f.v.UnmarshalExact(out, func(c *mapstructure.DecoderConfig) {
		c.TagName = "yaml"
		c.WeaklyTypedInput = false
	}); err != nil {
		return f, f.decodeError(err)
	}
	return f, nil
}

// Errorf makes an error that points at key, written "site.address" or "disks[1].serial".
func (f *File) Errorf(key, format string, args ...any) error {
	line := f.lines[strings.ToLower(key)]
	for k := strings.ToLower(key); line == 0 && k != ""; line = f.lines[k] {
		i := strings.LastIndexAny(k, ".[")
		if i < 0 {
			break
		}
		k = k[:i]
	}
	return &Error{File: f.Name, Line: line, Key: key, Msg: fmt.Sprintf(format, args...)}
}

// Has tells whether the file sets key.
func (f *File) Has(key string) bool { return f.lines[strings.ToLower(key)] > 0 }

func (f *File) index(prefix string, n *yaml.Node) error {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := join(prefix, n.Content[i].Value)
			if at := f.lines[strings.ToLower(k)]; at > 0 {
				return &Error{File: f.Name, Line: n.Content[i].Line, Key: k, Msg: fmt.Sprintf("stands here and on line %d; keep one", at)}
			}
			f.lines[strings.ToLower(k)] = n.Content[i].Line
			if err := f.index(k, n.Content[i+1]); err != nil {
				return err
			}
		}
	case yaml.SequenceNode:
		for i, c := range n.Content {
			k := prefix + "[" + strconv.Itoa(i) + "]"
			f.lines[strings.ToLower(k)] = c.Line
			if err := f.index(k, c); err != nil {
				return err
			}
		}
	case yaml.AliasNode:
		return &Error{File: f.Name, Line: n.Line, Key: prefix, Msg: "YAML anchors and aliases are not used here; write the value out"}
	}
	return nil
}

// unknown refuses keys that t does not have, with the line, before viper loses it.
func (f *File) unknown(prefix string, n *yaml.Node, t reflect.Type) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case n.Kind == yaml.MappingNode && t.Kind() == reflect.Struct:
		fields, names := fieldsOf(t)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i].Value
			ft, ok := fields[strings.ToLower(key)]
			if !ok {
				return &Error{File: f.Name, Line: n.Content[i].Line, Key: join(prefix, key), Msg: "is not a known key; known here: " + strings.Join(names, ", ")}
			}
			if err := f.unknown(join(prefix, key), n.Content[i+1], ft); err != nil {
				return err
			}
		}
	case n.Kind == yaml.MappingNode && t.Kind() == reflect.Map:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if err := f.unknown(join(prefix, n.Content[i].Value), n.Content[i+1], t.Elem()); err != nil {
				return err
			}
		}
	case n.Kind == yaml.SequenceNode && t.Kind() == reflect.Slice:
		for i, c := range n.Content {
			if err := f.unknown(prefix+"["+strconv.Itoa(i)+"]", c, t.Elem()); err != nil {
				return err
			}
		}
	}
	return nil
}

func fieldsOf(t reflect.Type) (map[string]reflect.Type, []string) {
	m := map[string]reflect.Type{}
	var names []string
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		if name == "-" {
			continue
		}
		if name == "" {
			name = strings.ToLower(field.Name)
		}
		m[strings.ToLower(name)] = field.Type
		names = append(names, name)
	}
	sort.Strings(names)
	return m, names
}

var quotedKey = regexp.MustCompile(`'([^']+)'`)

func (f *File) decodeError(err error) error {
	// mapstructure joins one error a line, each beginning with the key in quotes; one at a time is enough for a person.
	msg := err.Error()
	for line := range strings.Lines(msg) {
		line = strings.TrimSpace(line)
		m := quotedKey.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if at, ok := f.lines[strings.ToLower(m[1])]; ok {
			return &Error{File: f.Name, Line: at, Key: m[1], Msg: strings.TrimSpace(strings.Replace(line, m[0], "", 1))}
		}
	}
	return &Error{File: f.Name, Msg: msg}
}

var yamlLine = regexp.MustCompile(`line (\d+): `)

func yamlError(name string, err error) error {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if m := yamlLine.FindStringSubmatchIndex(msg); m != nil {
		line, _ = strconv.Atoi(msg[m[2]:m[3]])
		msg = msg[:m[0]] + msg[m[1]:]
	}
	return &Error{File: name, Line: line, Msg: msg}
}

func join(prefix, key string) string {
	if prefix == "" {
		return key
	}
	return prefix + "." + key
}
