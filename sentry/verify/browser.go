package verify

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
)

// maxDOM bounds what a browser prints.
const maxDOM = 4 << 20

// Browser lets a real browser (Chromium without a window) open a page, run its scripts, and tell what then stands in it: pages that are put
// together in the client are empty for kind http. It runs as the account nobody, knows no address but the target's, and keeps nothing.
// Where the image carries no browser, there is nothing to probe. Parameters: path ("/"), scheme ("https"), port (the scheme's), host
// (the site's host name), contains (text that the scripts put into the page; needed).
func Browser(ctx context.Context, t Target) Outcome {
	text := t.Param("contains", "")
	if text == "" {
		return misnamed("the probe does not say what the page's scripts put into it")
	}
	program := browser(os.Getenv("PATH"))
	if program == "" {
		return Outcome{
			Status: NotApplicable, Evidence: "this image carries no browser, so pages that need one are not proven",
			Next: "If it matters, add the package chromium to the image's profile.",
		}
	}
	scheme, host := t.Param("scheme", "https"), t.Param("host", t.Hostname)
	usual := map[string]string{"http": "80", "https": "443"}[scheme]
	if usual == "" || host == "" {
		return misnamed("the probe's scheme is not http or https, or it names no host")
	}
	dir, err := os.MkdirTemp("", "atlas-browser-")
	if err != nil {
		return unknown(err.Error(), "See that there is room in /tmp.")
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			return unknown(err.Error(), "Report this to the vendor.")
		}
	}
	path := t.Param("path", "/")
	at := net.JoinHostPort(t.Address, t.Param("port", usual))
	begin(ctx, stepTransaction)
	c := exec.CommandContext(ctx, program,
		// Its own sandbox needs rights that nobody has not; the page is the site's own.
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions", "--disable-background-networking", "--no-first-run", "--mute-audio",
		"--log-level=2", // errors
		"--user-data-dir="+dir, "--host-resolver-rules=MAP * "+at, "--ignore-certificate-errors", "--virtual-time-budget=5000", "--dump-dom",
		scheme+"://"+host+path)
	c.Env = []string{"HOME=" + dir, "TMPDIR=" + dir, "PATH=/usr/bin:/bin", "LANG=C.UTF-8"}
	c.Dir = dir
	var page bytes.Buffer
	var said head
	c.Stdout, c.Stderr = limited{&page}, &said
	asNobody(c)
	err = c.Run()
	next := fmt.Sprintf("On %s look at the web server: `atlas service list`, and its log; then open the page in a browser, with its console.", t.Server)
	if ctx.Err() != nil {
		return failed("open "+path+" in the browser", ctx.Err(), next)
	}
	if err != nil {
		return unknown(fmt.Sprintf("the browser ended early: %v: %s", err, said.last()), "Report this to the vendor.")
	}
	seen := fmt.Sprintf("%s in the browser: %s", path, size(page.Len()))
	if !strings.Contains(page.String(), text) {
		return failure(fmt.Sprintf("%s, without “%s”. It says: %s", seen, text, excerpt(page.Bytes())), next)
	}
	return Outcome{Status: Pass, Evidence: fmt.Sprintf("%s, its scripts ran: contains “%s”", seen, text)}
}

// browser finds Chromium in path; "" = none.
func browser(path string) string {
	for _, name := range []string{"chromium-headless-shell", "chromium", "chromium-browser"} {
		for dir := range strings.SplitSeq(path, ":") {
			file := dir + "/" + name
			if st, err := os.Stat(file); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
				return file
			}
		}
	}
	return ""
}

// limited drops what goes beyond maxDOM.
type limited struct{ b *bytes.Buffer }

func (l limited) Write(p []byte) (int, error) {
	if room := maxDOM - l.b.Len(); room > 0 {
		l.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
