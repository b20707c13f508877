package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"sayasystems.com/atlas/build/toolsroot"
)

// browser starts the tools root's Chromium and returns a context to drive it.
func browser(t *testing.T) context.Context {
	t.Helper()
	tools, err := toolsroot.Ensure(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	inTools := func(cmd *exec.Cmd) {
		cmd.Args = tools.Args("chromium-headless-shell", cmd.Args[1:]...)
		if cmd.Path, err = exec.LookPath(cmd.Args[0]); err != nil {
			t.Error(err)
		}
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.IgnoreCertErrors, chromedp.ExecPath("/bin/true"),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.UserDataDir(t.TempDir()),
		chromedp.ModifyCmdFunc(inTools))
	remote, cancel := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	tab, cancel := chromedp.NewContext(remote)
	t.Cleanup(cancel)
	return tab
}

// TestPage logs in as the owner would and reads the page on a phone and on a desk. ATLAS_SHOTS names a folder for pictures of it.
func TestPage(t *testing.T) {
	s := use(t, "namespace")
	s.healthy(t, "left", "right")
	var url string
	out := s.must(t, time.Minute, "status", "--json")
	for f := range strings.SplitSeq(out, "{") {
		if strings.Contains(f, `"dashboard of left"`) {
			url = between(f, `"url": "`, `"`)
		}
	}
	if url == "" {
		t.Fatalf("lab status tells no address of left's page:\n%s", out)
	}
	tab := browser(t)
	if err := chromedp.Do(tab,
		chromedp.EmulateViewport(1440, 900),
		chromedp.Navigate(url),
		chromedp.SendKeys(chromedp.CSS("#password"), s.admin+"\n"),
		chromedp.WaitVisible(chromedp.CSS("#verdict-h")),
	); err != nil {
		t.Fatalf("log in: %v", err)
	}
	for _, width := range []int64{1440, 375} {
		var text string
		// A service of the twin that has just been given new files is started anew, and the verdict waits for its proofs.
		eventually(t, "the page is good", time.Minute, func() error {
			err := chromedp.Do(tab, chromedp.EmulateViewport(width, 900), chromedp.Reload(), chromedp.WaitVisible(chromedp.CSS("#verdict-h")))
			if err == nil {
				text, err = chromedp.Run(tab, chromedp.Text(chromedp.CSS("body")))
			}
			if err == nil && !strings.Contains(text, "Ready to swap: YES") {
				err = fmt.Errorf("at %d pixels the page does not say that a swap would work:\n%s", width, tail(text, 60))
			}
			return err
		})
		wide, err := chromedp.Run(tab, chromedp.Evaluate[int64]("document.documentElement.scrollWidth"))
		if err != nil {
			t.Fatal(err)
		}
		if wide > width {
			t.Errorf("at %d pixels the page is %d wide: it must not scroll sideways", width, wide)
		}
		for _, want := range []string{"LEFT", "RIGHT", "PRIMARY", "SECONDARY", "10.7.0.10", "The swap in five steps"} {
			if !strings.Contains(text, want) {
				t.Errorf("at %d pixels the page does not say %q:\n%s", width, want, tail(text, 60))
			}
		}
		shoot(t, tab, fmt.Sprintf("page-%d.png", width))
	}
	// What the page leads to must be readable as well.
	links, err := chromedp.Run(tab, chromedp.Evaluate[[]string](`[...new Set([...document.querySelectorAll('a[href^="/"]')].map(a => a.pathname))]`))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the page leads to %v", links)
	if len(links) < 3 {
		t.Errorf("the page leads to %v; want the changes and the history among them", links)
	}
	for _, link := range links {
		if link == "/" || strings.HasPrefix(link, "/log") || strings.HasPrefix(link, "/api") {
			continue
		}
		for _, width := range []int64{1440, 375} {
			if err := chromedp.Do(tab, chromedp.EmulateViewport(width, 900), chromedp.Navigate(strings.TrimSuffix(url, "/")+link), chromedp.WaitVisible(chromedp.CSS("h1"))); err != nil {
				t.Errorf("%s at %d pixels: %v", link, width, err)
				continue
			}
			wide, err := chromedp.Run(tab, chromedp.Evaluate[int64]("document.documentElement.scrollWidth"))
			if err != nil {
				t.Fatal(err)
			}
			if wide > width {
				t.Errorf("at %d pixels %s is %d wide: it must not scroll sideways", width, link, wide)
			}
			shoot(t, tab, fmt.Sprintf("page%s-%d.png", strings.ReplaceAll(link, "/", "-"), width))
		}
	}
}

// shoot keeps a picture of the page, for people.
func shoot(t *testing.T, tab context.Context, name string) {
	t.Helper()
	dir := os.Getenv("ATLAS_SHOTS")
	if dir == "" {
		return
	}
	picture, err := chromedp.Run(tab, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), picture, 0o644); err != nil {
		t.Fatal(err)
	}
}
