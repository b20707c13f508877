package verify

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
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
// host name), status ("200"), contains (text that must be in the page), sha256 (of the whole page, in hexadecimal), user (sends the verification account's password),
// unauthorized (status that must answer when no password is sent, and when a wrong one is).
func HTTP(ctx context.Context, t Target) Outcome {
	scheme := t.Param("scheme", "http")
	usual := "80"
	if scheme == "https" {
		usual = "443"
	}
	port := t.Param("port", usual)
	path := t.Param("path", "/")
	url := scheme + "://" + net.JoinHostPort(t.Address, port) + path
	user, secret := t.Param("user", ""), t.Secret
	if user != "" && secret == "" {
		return noSecret(t)
	}
	next := fmt.Sprintf("On %s look at the web server: `atlas service list`, and its log.", t.Server)
	refused := ""
	if no := t.Param("unauthorized", ""); no != "" {
		for _, try := range []struct{ user, password, words string }{{"", "", "without a password"}, {user, "wrong-" + rand.Text(), "with a wrong password"}} {
			status, _, err := get(ctx, t, url, try.user, try.password)
			if err != nil {
				return failed("GET "+path, unwrapURL(err), next)
			}
			if status/100 == 2 {
				return alarm(fmt.Sprintf("GET %s %s: %d; expected %s: what is behind a password is shown to everybody", path, try.words, status, no),
					"Look at the access rules of the page: .htaccess, and AllowOverride of its directory.")
			}
			if strconv.Itoa(status) != no {
				return failure(fmt.Sprintf("GET %s %s: %d; expected %s", path, try.words, status, no), "Look at the access rules of the page: .htaccess, and AllowOverride of its directory.")
			}
		}
		refused = "; refused without the password and with a wrong one"
	}
	status, body, err := get(ctx, t, url, user, secret)
	if err != nil {
		return failed("GET "+path, unwrapURL(err), next)
	}
	seen := fmt.Sprintf("GET %s: %d, %d bytes", path, status, len(body))
	want, err := strconv.Atoi(t.Param("status", "200"))
	if err != nil {
		return misnamed("the probe's status is not a number")
	}
	if status != want {
		return failure(fmt.Sprintf("%s; expected %d. It says: %s", seen, want, excerpt(body)), next)
	}
	if text := t.Param("contains", ""); text != "" {
		if !bytes.Contains(body, []byte(text)) {
			return failure(fmt.Sprintf("%s, without “%s”. It says: %s", seen, text, excerpt(body)), next)
		}
		seen += fmt.Sprintf(", contains “%s”", text)
	}
	if want := t.Param("sha256", ""); want != "" {
		if got := fmt.Sprintf("%x", sha256.Sum256(body)); !strings.EqualFold(got, want) {
			return failure(fmt.Sprintf("%s, but not the ones that it should be: their SHA-256 is %s…, expected %.8s…. It says: %s", seen, got[:8], want, excerpt(body)), next)
		}
		seen += ", to the last bit as it should be"
	}
	return Outcome{Status: Pass, Evidence: seen + refused}
}

// get fetches a page over a new connection.
func get(ctx context.Context, t Target, url, user, password string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(withHTTPSteps(ctx), http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	req.Host = t.Param("host", t.Hostname)
	req.Header.Set("User-Agent", "atlas-sentry")
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	tr := &http.Transport{
		DisableKeepAlives: true,
		// The certificate names the site, not the address that is probed; whether the service answers is asked here.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: req.Host, MinVersion: tls.VersionTLS12},
	}
	c := &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := c.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err = io.ReadAll(io.LimitReader(res.Body, maxPage))
	return res.StatusCode, body, err
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
	return Outcome{
		Status: Skipped, Evidence: t.Observer + " does not know the verification password, since it has no started disk set", Next: "Start a disk set in " + t.Observer + ".",
	}
}
