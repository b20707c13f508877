//go:build ignore

// Gen makes makers.gz from the table of github.com/gopacket/gopacket/macs (BSD licence), which is the IEEE's public list of prefixes. The module is
// wanted for this only and not among the product's: `go get github.com/gopacket/gopacket@v1.7.7` before, and take it out of go.mod after.
package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"regexp"
	"sort"
	"strings"

	"github.com/gopacket/gopacket/macs"
)

// legal are the endings that tell nobody anything.
var legal = regexp.MustCompile(`(?i)[,.]? *\b(Co\.?,? ?Ltd|Inc|Corporation|Corp|Ltd|LLC|GmbH|Limited|AG|S\.?A|Company|Technologies|Technology|Co)\b\.?`)

func main() {
	by := map[string][]string{}
	for prefix, name := range macs.ValidMACPrefixMap {
		name = strings.Trim(legal.ReplaceAllString(name, ""), " ,.")
		by[name] = append(by[name], fmt.Sprintf("%x", prefix[:]))
	}
	var lines []string
	for name, prefixes := range by {
		if len(prefixes) < 4 || name == "" || name == "Private" {
			continue
		}
		sort.Strings(prefixes)
		lines = append(lines, name+"\t"+strings.Join(prefixes, " ")+"\n")
	}
	sort.Strings(lines)
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	for _, l := range lines {
		_, _ = w.Write([]byte(l))
	}
	_ = w.Close()
	if err := os.WriteFile("makers.gz", b.Bytes(), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
