package engine

import (
	"strings"
	"testing"
	"time"
)

// TestOwnWork: what a service of the secondary makes in a database at its first start stays until the primary's own dump of the same comes.
func TestOwnWork(t *testing.T) {
	t.Parallel()
	dumps := database(goodDump, "cat > $1; cat $1 >> $1.loaded; echo . >> $1.loaded")
	left, right := siteOf(t, plan{config: func(s *server, c *Config) {
		dumps(s, c)
		c.own = 4 * time.Second
	}})
	eventually(t, "in step", func() bool { return right.engine.Status().InStep && right.read("db/roles") == "one\n" })
	pause()
	before := right.read("db/roles.loaded")
	write(t, right.path("db/roles"), "one\nwiki\n")
	pause()
	right.stop() // a new service also is a new list of what to follow
	right.start()
	write(t, left.path("etc/web/site.conf"), "other\n") // a newer state that knows nothing of it
	eventually(t, "site.conf on right", func() bool { return right.read("etc/web/site.conf") == "other\n" })
	pause()
	if got := right.read("db/roles"); got != "one\nwiki\n" {
		t.Fatalf("what the service made was taken away again: %q", got)
	}
	write(t, left.path("db/roles"), "one\nwiki\nshop\n")
	eventually(t, "the primary's on right", func() bool { return right.read("db/roles") == "one\nwiki\nshop\n" && right.engine.Status().InStep })
	if loaded := strings.TrimPrefix(right.read("db/roles.loaded"), before); strings.Contains("\n"+loaded, "\none\n.\n") {
		t.Errorf("the older dump was loaded: %q", loaded)
	}
	pause()
	began := time.Now()
	write(t, right.path("db/roles"), "one\nmine\n")
	eventually(t, "the primary wins", func() bool { return right.read("db/roles") == "one\nwiki\nshop\n" && right.engine.Status().InStep })
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("put back after %v; want the primary's own awaited first", took)
	}
}
