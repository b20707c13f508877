package tree

import (
	"fmt"
	"maps"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func file(data string) Node { return Node{Content{"file", data}, Attrs{Mode: 0o644}} }
func dir() Node             { return Node{Content{Kind: "dir"}, Attrs{Mode: 0o755}} }

func mode(n Node, m uint32) Node {
	n.Attrs.Mode = m
	return n
}

func TestMerge(t *testing.T) {
	type tree = map[string]Node
	for _, c := range []struct {
		name              string
		base, image, ours Tree
		want              Tree
		conflicts         []string
	}{
		{"nothing changed", tree{"a": file("1")}, tree{"a": file("1")}, tree{"a": file("1")}, tree{"a": file("1")}, nil},
		{"image changed", tree{"a": file("1")}, tree{"a": file("2")}, tree{"a": file("1")}, tree{"a": file("2")}, nil},
		{"we changed", tree{"a": file("1")}, tree{"a": file("1")}, tree{"a": file("2")}, tree{"a": file("2")}, nil},
		{"both the same", tree{"a": file("1")}, tree{"a": file("2")}, tree{"a": file("2")}, tree{"a": file("2")}, nil},
		{"both differently", tree{"a": file("1")}, tree{"a": file("2")}, tree{"a": file("3")}, tree{"a": file("3"), "a" + Suffix: file("2")}, []string{"a"}},
		{"image added", tree{}, tree{"d": dir(), "d/a": file("1")}, tree{}, tree{"d": dir(), "d/a": file("1")}, nil},
		{"image removed", tree{"d": dir(), "d/a": file("1")}, tree{}, tree{"d": dir(), "d/a": file("1")}, tree{}, nil},
		{"image removed, we changed", tree{"d": dir(), "d/a": file("1")}, tree{}, tree{"d": dir(), "d/a": file("2")}, tree{"d": dir(), "d/a": file("2")}, []string{"d/a"}},
		{"image removed a directory of ours", tree{"d": dir()}, tree{}, tree{"d": dir(), "d/b": file("1")}, tree{"d": dir(), "d/b": file("1")}, nil},
		{"we removed", tree{"a": file("1")}, tree{"a": file("1")}, tree{}, tree{}, nil},
		{"we removed, image changed", tree{"a": file("1")}, tree{"a": file("2")}, tree{}, tree{}, []string{"a"}},
		{"our mode, their bytes", tree{"a": file("1")}, tree{"a": file("2")}, tree{"a": mode(file("1"), 0o600)}, tree{"a": mode(file("2"), 0o600)}, nil},
		{"our bytes, their mode", tree{"a": file("1")}, tree{"a": mode(file("1"), 0o600)}, tree{"a": file("2")}, tree{"a": mode(file("2"), 0o600)}, nil},
		{"both modes", tree{"a": file("1")}, tree{"a": mode(file("1"), 0o600)}, tree{"a": mode(file("1"), 0o640)}, tree{"a": mode(file("1"), 0o640)}, []string{"a"}},
		{"file becomes directory", tree{"a": file("1")}, tree{"a": dir(), "a/b": file("1")}, tree{"a": file("1")}, tree{"a": dir(), "a/b": file("1")}, nil},
		{"our file becomes directory", tree{"a": file("1")}, tree{"a": dir(), "a/b": file("1")}, tree{"a": file("2")}, tree{"a": file("2")}, []string{"a"}},
		{"directory becomes file", tree{"a": dir(), "a/b": file("1")}, tree{"a": file("1")}, tree{"a": dir(), "a/b": file("1")}, tree{"a": file("1")}, nil},
		{"directory with ours becomes file", tree{"a": dir()}, tree{"a": file("1")}, tree{"a": dir(), "a/c": file("1")}, tree{"a": dir(), "a/c": file("1")}, []string{"a"}},
		{"no base", tree{}, tree{"a": file("1"), "b": file("1")}, tree{"a": file("2")}, tree{"a": file("2"), "a" + Suffix: file("1"), "b": file("1")}, []string{"a"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			steps, conflicts := Merge(c.base, c.image, c.ours)
			got, err := applied(c.image, c.ours, steps)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("merged tree (-want +got):\n%s", diff)
			}
			var paths []string
			for _, x := range conflicts {
				paths = append(paths, x.Path)
			}
			if diff := cmp.Diff(c.conflicts, paths); diff != "" {
				t.Errorf("conflicts (-want +got):\n%s", diff)
			}
		})
	}
}

// applied does the steps to a copy of ours, as strict as a filesystem would be.
func applied(image, ours Tree, steps []Step) (Tree, error) {
	t := maps.Clone(ours)
	if t == nil {
		t = Tree{}
	}
	children := func(p string) bool {
		for q := range t {
			if strings.HasPrefix(q, p+"/") {
				return true
			}
		}
		return false
	}
	for _, s := range steps {
		old, had := t[s.Path]
		n, inImage := image[s.Path]
		switch {
		case s.Aside:
			t[s.Path+Suffix] = n
			continue
		case s.Content == None:
			if children(s.Path) {
				return nil, fmt.Errorf("remove %s: not empty", s.Path)
			}
			delete(t, s.Path)
			continue
		case !inImage:
			return nil, fmt.Errorf("%+v: not in the image", s)
		}
		if parent := path.Dir(s.Path); parent != "." && t[parent].Content.Kind != "dir" {
			return nil, fmt.Errorf("%+v: its parent is no directory", s)
		}
		if s.Content == Image {
			if had && old.Content.Kind == "dir" && n.Content.Kind != "dir" && children(s.Path) {
				return nil, fmt.Errorf("replace directory %s: not empty", s.Path)
			}
			old.Content = n.Content
		}
		if s.Attrs == Image {
			old.Attrs = n.Attrs
		}
		t[s.Path] = old
	}
	return t, nil
}

// TestMergeEverything merges every triple of small trees and checks what must hold for all of them.
func TestMergeEverything(t *testing.T) {
	var trees []Tree
	for _, a := range []*Node{nil, new(file("1")), new(file("2")), new(mode(file("1"), 0o600)), new(dir()), new(mode(dir(), 0o700))} {
		if a == nil || a.Content.Kind != "dir" {
			tr := Tree{}
			if a != nil {
				tr["a"] = *a
			}
			trees = append(trees, tr)
			continue
		}
		for _, b := range []*Node{nil, new(file("1")), new(file("2")), new(dir())} {
			for _, c := range []*Node{nil, new(file("1"))} {
				tr := Tree{"a": *a}
				if b != nil {
					tr["a/b"] = *b
				}
				if c != nil {
					tr["a/c"] = *c
				}
				trees = append(trees, tr)
				if b != nil && b.Content.Kind == "dir" {
					deep := maps.Clone(tr)
					deep["a/b/x"] = file("1")
					trees = append(trees, deep)
				}
			}
		}
	}
	n := 0
	for _, base := range trees {
		for _, image := range trees {
			for _, ours := range trees {
				n++
				if err := holds(base, image, ours); err != nil {
					t.Fatalf("base %v\nimage %v\nours %v\n%v", base, image, ours, err)
				}
			}
		}
	}
	t.Logf("%d merges", n)
}

func holds(base, image, ours Tree) error {
	steps, conflicts := Merge(base, image, ours)
	got, err := applied(image, ours, steps)
	if err != nil {
		return err
	}
	told := func(p string) bool {
		for _, c := range conflicts {
			if c.Path == p || strings.HasPrefix(p, c.Path+"/") {
				return true
			}
		}
		return false
	}
	for p, o := range ours {
		b, inBase := base[p]
		if _, inImage := image[p]; (!inBase || b.Content != o.Content) && got[p].Content != o.Content {
			return fmt.Errorf("%s was changed here and is lost (in image: %t)", p, inImage)
		}
	}
	for p, n := range image {
		b, inBase := base[p]
		o, inOurs := ours[p]
		if inBase == inOurs && b == o && got[p] != n && !told(p) && (!inBase || b != n) {
			return fmt.Errorf("%s was not changed here and does not follow the image, and nobody is told", p)
		}
	}
	for p, b := range base {
		_, inImage := image[p]
		if o, inOurs := ours[p]; inOurs && o == b && !inImage {
			if _, still := got[p]; still && !hasBelow(got, p) {
				return fmt.Errorf("%s was not changed here, left the image, and is still there", p)
			}
		}
	}
	return nil
}

func hasBelow(t Tree, p string) bool {
	for q := range t {
		if strings.HasPrefix(q, p+"/") {
			return true
		}
	}
	return false
}
