package history

import (
	"bytes"
	"strings"
)

// Text is shown up to these bounds.
const (
	textMax  = 1 << 20
	patchMax = 8 << 20
)

func isBinary(b []byte) bool { return bytes.IndexByte(b[:min(len(b), 8000)], 0) >= 0 }

// textLines splits a text into lines. That the last line has no end is told apart, as unified diffs do.
func textLines(b []byte) (lines []string, noEnd bool) {
	if len(b) == 0 {
		return nil, false
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n"), b[len(b)-1] != '\n'
}
