package verify

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

const maxPage = 1 << 20

// HTTP gets a page over a new connection. Parameters: path ("/"), port ("80", with https "443"), scheme ("http"), host (the site's
// host name), status ("200"), contains (text that must be in the page), user (sends the verification account's password).
func HTTP(ctx context.Context, t Target) Outcome {
	scheme := t.Param("scheme", "http")
	usual := "80"
	if scheme == "https" {
		usual = "443"
	}
	port := t.Param("port", usual)
	path := t.Param("path", "/")
	url := scheme + "://" + net.JoinHostPort(t.Address, port) + path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Outcome{Unknown, err.Error(), "Correct the probe in the service pack."}
	}
	req.Host = t.Param("host", t.Hostname)
	req.Header.Set("User-Agent", "atlas-sentry")
	if u := t.Param("user", ""); u != "" {
		if t.Secret == "" {
			return noSecret(t)
		}
		req.SetBasicAuth(u, t.Secret)
	}
	tr := &http.Transport{
		DisableKeepAlives: true,
		// The pack's certificate names the site, not the address that is probed; whether the service answers is asked here.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: t.Hostname, MinVersion: tls.VersionTLS12},
	}
	c := &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	next := fmt.Sprintf("On %s look at the web server: `atlas service list`, and its log.", t.Server)
	res, err := c.Do(req)
	if err != nil {
		return failed("GET "+path, unwrapURL(err), next)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxPage))
	if err != nil {
		return failed("GET "+path, err, next)
	}
	seen := fmt.Sprintf("GET %s: %d, %d bytes", path, res.StatusCode, len(body))
	want, err := strconv.Atoi(t.Param("status", "200"))
	if err != nil {
		return Outcome{Unknown, "the probe's status is not a number", "Correct the probe in the service pack."}
	}
	if res.StatusCode != want {
		return Outcome{Fail, fmt.Sprintf("%s; expected %d. It says: %s", seen, want, excerpt(body)), next}
	}
	if text := t.Param("contains", ""); text != "" {
		if !bytes.Contains(body, []byte(text)) {
			return Outcome{Fail, fmt.Sprintf("%s, without “%s”. It says: %s", seen, text, excerpt(body)), next}
		}
		seen += fmt.Sprintf(", contains “%s”", text)
	}
	return Outcome{Status: Pass, Evidence: seen}
}

// excerpt is the beginning of a page for a person: no tags, one line.
func excerpt(body []byte) string {
	var b strings.Builder
	tag := false
	for _, r := range string(body[:min(len(body), 4096)]) {
		switch {
		case r == '<':
			tag = true
		case r == '>':
			tag = false
			b.WriteByte(' ')
		case !tag:
			b.WriteRune(r)
		}
	}
	s := strings.ToValidUTF8(strings.Join(strings.Fields(b.String()), " "), "?")
	if r := []rune(s); len(r) > 160 {
		s = string(r[:160]) + "…"
	}
	if s == "" {
		return "(nothing)"
	}
	return s
}

func noSecret(t Target) Outcome {
	return Outcome{Skipped, t.Observer + " does not know the verification password, since it has no started disk set", "Start a disk set in " + t.Observer + "."}
}
