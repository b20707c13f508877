package benchverify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sayasystems.com/atlas/sentry/verify"
)

// Here are the options of Measure.
type Here struct {
	Rounds   int
	Blackbox string // its program
	Dir      string
	Secret   string
	Stdout   io.Writer
}

// cost is what looks of one contender at one target took.
type cost struct {
	looks  int
	cpu    time.Duration
	memory int64 // KiB: of a plugin's process the most, of one that stays what it has at the end
}

func (c cost) each() time.Duration { return c.cpu / time.Duration(max(c.looks, 1)) }

type row struct {
	target
	ours, plugin, blackbox cost
}

// exporterPort is where blackbox_exporter listens in the client's network.
const exporterPort = "19115"

// Measure looks at the targets; it is run in the client's network.
func Measure(ctx context.Context, o Here) error {
	stop, pid, err := exporter(ctx, o)
	if err != nil {
		return err
	}
	defer stop()
	rows := make([]row, 0, 9)
	for _, t := range targets() {
		rows = append(rows, row{target: t})
	}
	for n := range o.Rounds + 1 {
		for i := range rows {
			r := &rows[i]
			if n == 0 { // what is only done the first time is no part of a look
				var warm row
				warm.target = r.target
				err := warm.look(ctx, o, pid)
				if refused := (*pluginError)(nil); errors.As(err, &refused) {
					fmt.Fprintf(o.Stdout, "\n%s is left out: %v\n", r.name, refused)
					r.target.plugin, err = nil, nil
				}
				if err != nil {
					return err
				}
				continue
			}
			if err := r.look(ctx, o, pid); err != nil {
				return err
			}
		}
	}
	own, err := resident("self")
	if err != nil {
		return err
	}
	theirs, err := resident(strconv.Itoa(pid))
	if err != nil {
		return err
	}
	share, looks, err := load(ctx)
	if err != nil {
		return err
	}
	report(o.Stdout, rows, own, theirs, share, looks)
	return nil
}

// pluginError tells that a plugin does not get along with the site's service.
type pluginError struct{ words string }

func (e *pluginError) Error() string { return e.words }

// look has each contender look once.
func (r *row) look(ctx context.Context, o Here, exporter int) error {
	cpu, err := timed(func() error { return ours(ctx, r.target, o.Secret) })
	if err != nil {
		return fmt.Errorf("%s by Sentry: %w", r.name, err)
	}
	r.ours.looks++
	r.ours.cpu += cpu
	if len(r.target.plugin) > 0 {
		args := slices.Clone(r.target.plugin)
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "%s", o.Secret)
		}
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "LDAPTLS_REQCERT=never") // the site's own authority is not known here
		out, err := cmd.CombinedOutput()
		if err != nil {
			return &pluginError{fmt.Sprintf("%s: %v: %s", filepath.Base(args[0]), err, bytes.TrimSpace(out))}
		}
		r.plugin.looks++
		r.plugin.cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			r.plugin.memory = max(r.plugin.memory, u.Maxrss)
		}
	}
	if r.module == "" {
		return nil
	}
	before, err := spent(exporter)
	if err != nil {
		return err
	}
	for range perLook {
		if err := ask(ctx, r.target); err != nil {
			return fmt.Errorf("%s by blackbox_exporter: %w", r.name, err)
		}
	}
	after, err := spent(exporter)
	if err != nil {
		return err
	}
	r.blackbox.looks += perLook
	r.blackbox.cpu += after - before
	return nil
}

// perLook: another process's time is told by the kernel in nanoseconds (schedstat), but what it does after its answer belongs to it as well; many
// in a row even that out.
const perLook = 5

// timed gives the processor time of this process that f took.
func timed(f func() error) (time.Duration, error) {
	var a, b syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &a); err != nil {
		return 0, err
	}
	err := f()
	if e := syscall.Getrusage(syscall.RUSAGE_SELF, &b); e != nil {
		return 0, e
	}
	sum := func(u syscall.Rusage) time.Duration { return time.Duration(u.Utime.Nano() + u.Stime.Nano()) }
	return sum(b) - sum(a), err
}

func (t target) probe(secret string) verify.Target {
	return verify.Target{Address: t.at, Server: "left", Observer: "client", Hostname: "office.office.example", Secret: secret, Params: t.params}
}

func ours(ctx context.Context, t target, secret string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if out := verify.Kinds()[t.kind].Run(ctx, t.probe(secret)); out.Status != verify.Pass && out.Status != verify.Warn {
		return errors.New(out.Evidence)
	}
	return nil
}

// exporter starts blackbox_exporter.
func exporter(ctx context.Context, o Here) (stop func(), pid int, err error) {
	conf := filepath.Join(o.Dir, "blackbox.yml")
	if err := os.WriteFile(conf, []byte(modules), 0o644); err != nil {
		return nil, 0, err
	}
	cmd := exec.CommandContext(ctx, o.Blackbox, "--config.file="+conf, "--web.listen-address=127.0.0.1:"+exporterPort, "--log.level=error")
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return nil, 0, err
	}
	stop = func() { _, _ = cmd.Process.Kill(), cmd.Wait() }
	for range 100 {
		c, err := net.Dial("tcp", "127.0.0.1:"+exporterPort)
		if err == nil {
			return stop, cmd.Process.Pid, c.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	stop()
	return nil, 0, fmt.Errorf("blackbox_exporter does not listen: %s", said.Bytes())
}

// ask has blackbox_exporter look.
func ask(ctx context.Context, t target) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+exporterPort+"/probe?module="+t.module+"&target="+url.QueryEscape(t.asks), nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if !bytes.Contains(body, []byte("\nprobe_success 1")) {
		return fmt.Errorf("it has not succeeded: %s", body)
	}
	return nil
}

// spent is the processor time of all threads of a process.
func spent(pid int) (sum time.Duration, err error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("process %d is not there: %w", pid, err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			continue // a thread that has just ended
		}
		var ns int64
		if _, err := fmt.Sscan(string(data), &ns); err != nil {
			return 0, err
		}
		sum += time.Duration(ns)
	}
	return sum, nil
}

func resident(pid string) (int64, error) {
	data, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "VmRSS: %d", &kib); err == nil {
			return kib, nil
		}
	}
	return 0, errors.New("the kernel does not tell what memory process " + pid + " has")
}

// many probes of the cheap kinds run every interval for a while, on one processor.
const (
	many     = 500
	interval = 10 * time.Second
	warmUp   = 15 * time.Second
	during   = 60 * time.Second
)

// load gives the share of one processor that many probes take.
func load(ctx context.Context) (share float64, looks int, err error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var cheap []target
	for _, t := range targets() {
		if t.module != "" {
			cheap = append(cheap, t)
		}
	}
	ran, bad := 0, ""
	results := make(chan verify.Result, 10000)
	r := verify.NewRunner(verify.Settings{Observer: "client", Interval: interval, Ran: func(x verify.Result) { results <- x }})
	var checks []verify.Check
	for i := range many {
		t := cheap[i%len(cheap)]
		checks = append(checks, verify.Check{
			Target: "left", Service: t.name, Probe: strconv.Itoa(i), Title: t.name,
			Run: func(ctx context.Context) verify.Outcome { return verify.Kinds()[t.kind].Run(ctx, t.probe("")) },
		})
	}
	r.Set(ctx, checks)
	count := func(d time.Duration) {
		for end := time.After(d); ; {
			select {
			case x := <-results:
				ran++
				if x.Status != verify.Pass {
					bad = x.Service + ": " + x.Evidence
				}
			case <-end:
				return
			}
		}
	}
	count(warmUp)
	ran, bad = 0, ""
	cpu, err := timed(func() error { count(during); return nil })
	if bad != "" {
		err = errors.Join(err, fmt.Errorf("with %d probes: %s", many, bad))
	}
	return cpu.Seconds() / during.Seconds(), ran, err
}

func report(out io.Writer, rows []row, own, exporter int64, share float64, looks int) {
	fmt.Fprintf(out, "\nProcessor time of one look at the same targets, in turn, %d looks each:\n\n", rows[0].ours.looks)
	fmt.Fprintln(out, "| | Sentry | plugin | Sentry to plugin | goal | blackbox_exporter | Sentry to it | Sentry does | the plugin does |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |")
	ms := func(c cost) string {
		if c.looks == 0 {
			return "–"
		}
		return fmt.Sprintf("%.2f ms", float64(c.each().Microseconds())/1000)
	}
	ratio := func(a, b cost) string {
		if b.cpu == 0 {
			return "–"
		}
		return fmt.Sprintf("%.2f", float64(a.each())/float64(b.each()))
	}
	var most int64
	for _, r := range rows {
		goal := "–"
		if r.goal > 0 {
			goal = fmt.Sprintf("%.1f", r.goal)
		}
		fmt.Fprintf(out, "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", r.name, ms(r.ours), ms(r.plugin), ratio(r.ours, r.plugin), goal, ms(r.blackbox), ratio(r.ours, r.blackbox), r.target.ours, r.theirs)
		most = max(most, r.plugin.memory)
	}
	fmt.Fprintf(out, "\nMemory (resident): this program with all of Sentry's probe kinds %.1f MiB, blackbox_exporter %.1f MiB, the largest plugin %.1f MiB each time.\n",
		float64(own)/1024, float64(exporter)/1024, float64(most)/1024)
	fmt.Fprintf(out, "%d probes (HTTP, TCP, ICMP and DNS alike) every %v: %.1f %% of one processor, %d looks in %v.\n", many, interval, share*100, looks, during)
}
