package tree

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// isAccounts names the files of passwd(5) and its kin: they are changed on every server, and the accounts of a new image's services
// must get in nevertheless. Their identifiers are the same in every image.
func isAccounts(path string) bool {
	return slices.Contains([]string{"passwd", "group", "shadow", "gshadow", "subuid", "subgid"}, path)
}

// mergeAccounts merges one account file line by line into dir.
func mergeAccounts(dir, baseDir, imageDir, name string) error {
	base, err := os.ReadFile(filepath.Join(baseDir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	image, err := os.ReadFile(filepath.Join(imageDir, name))
	if err != nil {
		return err
	}
	path := filepath.Join(dir, name)
	ours, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	// In place: owner and mode are ours, and the whole tree is still under a temporary name.
	if err := os.WriteFile(path, mergeLines(base, image, ours), 0o600); err != nil {
		return fmt.Errorf("merge accounts: %w", err)
	}
	return nil
}

// mergeLines merges files of lines whose first field, up to a colon, is their key. A line changed here stays, an unchanged one follows
// the image, a new one of the image is appended. An account that the image no longer has stays: files may belong to it.
func mergeLines(base, image, ours []byte) []byte {
	b, n := byKey(base), byKey(image)
	var out bytes.Buffer
	have := map[string]bool{}
	for line := range strings.Lines(string(ours)) {
		line = strings.TrimSuffix(line, "\n")
		k := key(line)
		have[k] = true
		if was, ok := b[k]; ok && was == line {
			if now, ok := n[k]; ok {
				line = now
			}
		}
		fmt.Fprintln(&out, line)
	}
	for line := range strings.Lines(string(image)) {
		line = strings.TrimSuffix(line, "\n")
		k := key(line)
		if _, old := b[k]; !have[k] && !old && k != "" {
			have[k] = true
			fmt.Fprintln(&out, line)
		}
	}
	return out.Bytes()
}

func key(line string) string {
	k, _, _ := strings.Cut(line, ":")
	return k
}

func byKey(b []byte) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		m[key(line)] = line
	}
	return m
}
