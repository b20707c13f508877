package convert

import (
	"bytes"
	"slices"
	"strings"

	"sayasystems.com/atlas/sentry/sync/state"
)

// Meet makes of a server's files what another server with another image is to have: what people changed is converted, what they removed is
// removed, and all else is as the other image ships it. read gives content of the other image's files that is to be merged.
func Meet(steps []Step, theirs, ours Stock, files *Tree, read func(state.Path) ([]byte, error)) (Result, error) {
	in := files.clone()
	for p, f := range in.files {
		was, ok := theirs.Files[p]
		f.Stock = ok && (was.Equal(f.Entry) || f.Entry.Kind == state.Dir && was.Kind == state.Dir)
		in.files[p] = f
	}
	out, err := Convert(steps, theirs.Release, ours.Release, in)
	t := out.Tree
	for p, f := range t.files {
		if f.Stock {
			delete(t.files, p) // theirs
		}
	}
	for p, e := range ours.Files {
		if _, changed := t.files[p]; changed {
			continue
		}
		_, shipped := theirs.Files[p]
		if _, there := in.files[p]; !there && shipped && e.Kind != state.Dir {
			continue // a person has removed it
		}
		t.files[p] = File{Entry: e, Stock: true}
	}
	for p := range t.files { // folders on the way to what is there
		for d := p.Dir(); d != ""; d = d.Dir() {
			if _, ok := t.files[d]; ok {
				continue
			}
			if f, ok := in.files[d]; ok {
				t.files[d] = f
			} else {
				t.files[d] = File{Entry: state.Entry{Kind: state.Dir, Mode: 0o755, Owner: "root", Group: "root"}}
			}
		}
	}
	for _, p := range accountFiles() {
		f, ok := t.files[p]
		if _, shipped := ours.Files[p]; !ok || f.Stock || !shipped || f.Entry.Kind != state.File {
			continue
		}
		image, rerr := read(p)
		if rerr != nil {
			return out, rerr
		}
		if text := withAccounts(f.Data, image); !bytes.Equal(text, f.Data) {
			f.Data, f.Entry.Size, f.Entry.Data = text, int64(len(text)), ""
			t.files[p] = f
		}
	}
	return out, err
}

// accountFiles are merged line by line: the accounts of the other image's services must be there.
func accountFiles() []state.Path {
	return []state.Path{"etc/passwd", "etc/group", "etc/shadow", "etc/gshadow", "etc/subuid", "etc/subgid"}
}

// withAccounts appends the lines of image whose account is not in text.
func withAccounts(text, image []byte) []byte {
	var have []string
	for l := range strings.Lines(string(text)) {
		have = append(have, account(l))
	}
	out := slices.Clone(text)
	for l := range strings.Lines(string(image)) {
		l = strings.TrimSuffix(l, "\n")
		if l == "" || slices.Contains(have, account(l)) {
			continue
		}
		if n := len(out); n > 0 && out[n-1] != '\n' {
			out = append(out, '\n')
		}
		out = append(append(out, l...), '\n')
	}
	return out
}

func account(line string) string {
	name, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
	return name
}
