// Command build is the vendor's toolkit: it makes images, checks them, and runs the lab.
package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sayasystems.com/atlas/build/demo"
	"sayasystems.com/atlas/build/facts"
	"sayasystems.com/atlas/build/hosttool"
	"sayasystems.com/atlas/build/lab"
	"sayasystems.com/atlas/build/lab/benchboot"
	"sayasystems.com/atlas/build/lab/benchsync"
	"sayasystems.com/atlas/build/lab/benchverify"
	"sayasystems.com/atlas/build/product"
	"sayasystems.com/atlas/build/repro"
	"sayasystems.com/atlas/build/toolsroot"
	"sayasystems.com/atlas/image/manifest"
	"sayasystems.com/atlas/sentry/convert/steps"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "build:", err)
		}
		stop()
		if exit := (*lab.ExitError)(nil); errors.As(err, &exit) {
			os.Exit(exit.Code)
		}
		os.Exit(1)
	}
}

type command struct {
	name, usage, about string
	run                func(ctx context.Context, args []string, stdout, stderr io.Writer) error
}

func commands() []command {
	return []command{
		{"image", "[--profile FILE] --out DIR [--key FILE] [--refresh]", "make an image and what lies beside it", image},
		{"lab", "COMMAND...", "run servers on this machine: `build lab help`", lab.Main},
		{"repro", "[--profile FILE] [--out DIR]", "make an image twice, the second time from nothing, and compare the bytes", reproduce},
		{"verify", "[--key FILE] DIR", "check signature and sums of an output directory", verify},
		{"tools", "[PROGRAM ARG...]", "make the tools root; run a program of it", tools},
		{"demo", "[--kind KIND] [--out DIR] [--dir DIR]", "bring up a site of two servers and tell how to swap their disks", demo.Main},
		{"bench-boot", "--image FILE [--rounds N] [--dir DIR]", "compare boot time and memory with the same services under systemd", benchBoot},
		{"bench-sync", "--image FILE [--writes N] [--trees 700,50000]", "measure how fast a change reaches the other server, beside lsyncd with rsync and etckeeper with csync2", benchSync},
		{"bench-verify", "--image FILE [--rounds N]", "measure what a probe costs, beside monitoring-plugins and blackbox_exporter", benchVerify},
		{"facts", "--release N [--tree DIR] [--out DIR]", "ask the daemons of a Debian release what they know, for conversion between releases", askFacts},
		{"conversions", "", "print README's table of what is converted between releases of Debian", conversions},
		{"setup", "", "install the few programs that building needs of this machine", setup},
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == benchverify.HereVerb { // of bench-verify itself
		return benchVerifyHere(ctx, args[1:], stdout, stderr)
	}
	if len(args) > 0 {
		for _, c := range commands() {
			if c.name == args[0] {
				return c.run(ctx, args[1:], stdout, stderr)
			}
		}
		if args[0] != "help" && args[0] != "-h" && args[0] != "--help" {
			return fmt.Errorf("%q is not a command; `build help` lists them", args[0])
		}
	}
	fmt.Fprintln(stdout, "usage: build COMMAND")
	for _, c := range commands() {
		fmt.Fprintf(stdout, "  %-60s %s\n", c.name+" "+c.usage, c.about)
	}
	return nil
}

// flags makes a flag set that reports its errors as errors.
func flags(name string, stderr io.Writer) *flag.FlagSet {
	f := flag.NewFlagSet("build "+name, flag.ContinueOnError)
	f.SetOutput(stderr)
	return f
}

// pairs is a flag that may be given several times: NAME=FILE.
type pairs map[string]string

func (p pairs) String() string { return "" }

func (p pairs) Set(s string) error {
	name, file, ok := strings.Cut(s, "=")
	if !ok {
		return errors.New("write it as PROGRAM=FILE")
	}
	p[name] = file
	return nil
}

func image(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o := product.Options{Stdout: stdout, Replace: map[string]string{}}
	f := flags("image", stderr)
	f.StringVar(&o.Profile, "profile", "", "profile of the image (default: "+product.DefaultProfile+")")
	f.StringVar(&o.Out, "out", "out", "directory for the results")
	f.StringVar(&o.Key, "key", "", "Ed25519 signing key, PEM (default: made beside the output directory)")
	f.BoolVar(&o.Refresh, "refresh", false, "take up Debian's updates: make the Debian tree anew")
	f.Var(pairs(o.Replace), "replace", "PROGRAM=FILE: take a file instead of one of ATLAS's programs (for tests)")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("image: %q is not understood", f.Arg(0))
	}
	var err error
	if o.Epoch, err = epoch(); err != nil {
		return err
	}
	start := time.Now()
	r, err := product.Make(ctx, o)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "  size                   %d MB (root %d MB): %d packs, %d packages\n", r.Size/1e6, r.Root/1e6, len(r.Manifest.Packs), len(r.Manifest.Packages))
	fmt.Fprintf(stdout, "%s  (%s in all)\n", r.Image, time.Since(start).Round(100*time.Millisecond))
	return nil
}

// epoch reads SOURCE_DATE_EPOCH, https://reproducible-builds.org/specs/source-date-epoch/
func epoch() (int64, error) {
	s := os.Getenv("SOURCE_DATE_EPOCH")
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("SOURCE_DATE_EPOCH=%q is not a number of seconds", s)
	}
	return n, nil
}

func reproduce(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o := product.Options{Stdout: stdout}
	f := flags("repro", stderr)
	f.StringVar(&o.Profile, "profile", "", "profile of the image (default: "+product.DefaultProfile+")")
	f.StringVar(&o.Out, "out", "out", "directory for the first result")
	f.StringVar(&o.Key, "key", "", "Ed25519 signing key, PEM")
	if err := f.Parse(args); err != nil {
		return err
	}
	return repro.Run(ctx, o)
}

func verify(_ context.Context, args []string, stdout, stderr io.Writer) error {
	f := flags("verify", stderr)
	keyFile := f.String("key", "", "the vendor's public key, PEM (default: the one in the directory, which proves only that nothing was damaged)")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() != 1 {
		return errors.New("verify: name one directory")
	}
	dir := f.Arg(0)
	own := *keyFile == ""
	if own {
		*keyFile = filepath.Join(dir, manifest.PublicKeyFile)
	}
	data, err := os.ReadFile(*keyFile)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	var key ed25519.PublicKey
	if key, err = manifest.ParsePublic(data); err != nil {
		return fmt.Errorf("verify: %s: %w", *keyFile, err)
	}
	names, err := manifest.Verify(dir, key)
	if err != nil {
		return err
	}
	for _, n := range names {
		fmt.Fprintln(stdout, "good:", n)
	}
	if own {
		fmt.Fprintln(stdout, "signed by the key in the same directory; compare that with the vendor's, or give --key")
	}
	return nil
}

func tools(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	r, err := toolsroot.Ensure(ctx, func(s string) { fmt.Fprintln(stderr, s) })
	if err != nil {
		return err
	}
	if len(args) == 0 {
		fmt.Fprintln(stdout, r.Path)
		return nil
	}
	cmd := r.Command(ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, stdout, stderr
	return cmd.Run()
}

func benchBoot(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o := benchboot.Options{Stdout: stdout}
	f := flags("bench-boot", stderr)
	f.StringVar(&o.Image, "image", lab.NewestImage("out"), "atlas-VERSION.img, with its manifest beside it")
	f.StringVar(&o.Dir, "dir", "", "the lab's folder, removed at the end (default: one in the temporary directory)")
	f.IntVar(&o.Rounds, "rounds", 5, "measured boots of each")
	f.BoolVar(&o.Keep, "keep", false, "leave the lab there")
	if err := f.Parse(args); err != nil {
		return err
	}
	if o.Dir == "" {
		dir, err := os.MkdirTemp("", "atlas-bench-")
		if err != nil {
			return fmt.Errorf("bench-boot: %w", err)
		}
		o.Dir = filepath.Join(dir, "lab")
		if !o.Keep {
			defer os.RemoveAll(dir)
		}
	}
	return benchboot.Run(ctx, o)
}

func benchSync(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o := benchsync.Options{Stdout: stdout}
	trees := ""
	f := flags("bench-sync", stderr)
	f.StringVar(&o.Image, "image", lab.NewestImage("out"), "atlas-VERSION.img, with its manifest beside it")
	f.IntVar(&o.Writes, "writes", 200, "measured writes of each; a tenth of it for etckeeper with csync2")
	f.StringVar(&trees, "trees", "700,50000", "how many other files lie in the tree, for each part")
	if err := f.Parse(args); err != nil {
		return err
	}
	for s := range strings.SplitSeq(trees, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			return fmt.Errorf("bench-sync: --trees: %q is no number of files", s)
		}
		o.Trees = append(o.Trees, n)
	}
	dir, err := os.MkdirTemp("", "atlas-bench-")
	if err != nil {
		return fmt.Errorf("bench-sync: %w", err)
	}
	defer os.RemoveAll(dir)
	o.Dir = dir
	return benchsync.Run(ctx, o)
}

func benchVerify(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o := benchverify.Options{Stdout: stdout}
	f := flags("bench-verify", stderr)
	f.StringVar(&o.Image, "image", lab.NewestImage("out"), "atlas-VERSION.img, with its manifest beside it")
	f.IntVar(&o.Rounds, "rounds", 100, "looks of each at each target")
	if err := f.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "atlas-bench-")
	if err != nil {
		return fmt.Errorf("bench-verify: %w", err)
	}
	defer os.RemoveAll(dir)
	o.Dir = dir
	return benchverify.Run(ctx, o)
}

func benchVerifyHere(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o := benchverify.Here{Stdout: stdout}
	f := flags(benchverify.HereVerb, stderr)
	f.IntVar(&o.Rounds, "rounds", 100, "")
	f.StringVar(&o.Blackbox, "blackbox", "", "")
	f.StringVar(&o.Dir, "dir", "", "")
	if err := f.Parse(args); err != nil {
		return err
	}
	secret, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	o.Secret = strings.TrimSpace(string(secret))
	return benchverify.Measure(ctx, o)
}

func askFacts(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := flags("facts", stderr)
	release := f.Int("release", 0, "Debian release: 11, 12, 13, …")
	tree := f.String("tree", "", "an unpacked Debian tree of that release with the packs' packages (default: it is made, or the image's is taken)")
	out := f.String("out", facts.Dir, "directory for debian-N.json")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *release == 0 {
		return errors.New("facts: name the Debian release: --release 13")
	}
	if *tree == "" {
		dir, err := product.Tree(ctx, strconv.Itoa(*release), stdout)
		if err != nil {
			return err
		}
		*tree = dir
	}
	r, err := facts.Ask(ctx, *tree, *release, stdout)
	if err != nil {
		return err
	}
	name, err := facts.Write(r, *out)
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, name)
	return nil
}

func conversions(_ context.Context, _ []string, stdout, _ io.Writer) error {
	_, err := io.WriteString(stdout, steps.Table(steps.All()))
	return err
}

func setup(ctx context.Context, _ []string, stdout, stderr io.Writer) error {
	return hosttool.Setup(ctx, stdout, stderr)
}
