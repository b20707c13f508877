package steps

import (
	"testing"

	"sayasystems.com/atlas/sentry/convert"
)

func TestAccounts(t *testing.T) { nested(t, "accounts", Accounts()) }

// TestPasswordChanged: a password that was changed on the newer release is the one that counts on the older one, which then stays shadowed.
func TestPasswordChanged(t *testing.T) {
	before := nestedRead("--- etc/passwd\nada:oldhash:1000:100:Ada:/home/ada:/bin/sh\nbob:bobhash:1001:100:Bob:/home/bob:/bin/sh\n")
	there, err := convert.Convert(Accounts(), 12, 13, before)
	if err != nil {
		t.Fatal(err)
	}
	if f, _ := there.Tree.Get("etc/shadow"); f.Entry.Mode != 0o640 || f.Entry.Group != "shadow" {
		t.Errorf("/etc/shadow has mode %o and group %s", f.Entry.Mode, f.Entry.Group)
	}
	kept := convert.Keep(12, 13, before, there.Tree)
	there.Tree.Write("etc/shadow", []byte("ada:newhash:20780::::::0\nbob:bobhash:::::::0\n"))
	back, err := convert.Return(Accounts(), kept, there.Tree)
	if err != nil {
		t.Fatal(err)
	}
	const want = "--- etc/passwd\nada:x:1000:100:Ada:/home/ada:/bin/sh\nbob:x:1001:100:Bob:/home/bob:/bin/sh\n" +
		"--- etc/shadow\nada:newhash:20780::::::0\nbob:bobhash:::::::0\n"
	if got := nestedText(back.Tree); got != want {
		t.Errorf("got\n%s; want\n%s", got, want)
	}
}
