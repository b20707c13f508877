// Sentry watches a server and the others of its site, proves that a swap of the disk sets would work, and shows it on a page.
// Init runs it as a service:
//
//	sentry daemon        works until it is told to stop
//	sentry check         asks the services' own checkers about their configuration
//	sentry verify-key    prints the key by which sshd lets the verification account in
//	sentry attest        asks every other server of the site what it holds; prints []roles.Attestation as JSON
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/image/siteconf"
	"sayasystems.com/atlas/roles"
	"sayasystems.com/atlas/sentry/daemon"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/peers"
	"sayasystems.com/atlas/sentry/sync/check"
	"sayasystems.com/atlas/sentry/verify"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == daemon.CheckVerb {
		os.Exit(check.Main(os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "sentry:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	log := slog.New(slog.NewTextHandler(stderr, nil))
	root := &cobra.Command{Use: "sentry", Short: "ATLAS's watch over the servers of a site", SilenceUsage: true, SilenceErrors: true}
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.AddCommand(daemonCommand(log), attestCommand(log, stdout), checkCommand(stdout), checkSiteCommand(), verifyKeyCommand(stdout))
	return root.ExecuteContext(ctx)
}

func daemonCommand(log *slog.Logger) *cobra.Command {
	cfg := daemon.Defaults(log)
	socket := layout.InitSocket
	c := &cobra.Command{
		Use: "daemon", Short: "Work until told to stop", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Init = initapi.NewClient(socket)
			d, err := waitForIdentity(cmd.Context(), cfg)
			if err != nil || d == nil {
				return err
			}
			return d.Run(cmd.Context())
		},
	}
	f := c.Flags()
	f.StringVar(&cfg.StateDir, "state", cfg.StateDir, "the server's state `directory`")
	f.StringVar(&cfg.Etc, "etc", cfg.Etc, "the configuration `directory`")
	f.StringVar(&cfg.PacksDir, "packs", cfg.PacksDir, "`directory` of the service packs")
	f.StringVar(&cfg.SummaryFile, "summary", cfg.SummaryFile, "`file` written for init's console")
	f.StringVar(&cfg.AdminSocket, "socket", cfg.AdminSocket, "`socket` for the command atlas")
	f.StringVar(&socket, "init", socket, "init's `socket`")
	f.StringVar(&cfg.Listen, "listen", cfg.Listen, "`address` to serve on instead of the management address")
	f.IntVar(&cfg.PeerPort, "peer-port", cfg.PeerPort, "`port` for the other servers")
	f.IntVar(&cfg.PagePort, "page-port", cfg.PagePort, "`port` of the page")
	f.DurationVar(&cfg.Interval, "interval", 30*time.Second, "`time` between two runs of a probe")
	return c
}

// waitForIdentity waits for server.yaml and peers.yaml while they are absent (a server that is being installed); any other mistake
// in them ends sentry with its words. It gives nil when ctx ends first.
func waitForIdentity(ctx context.Context, cfg daemon.Config) (*daemon.Daemon, error) {
	told := false
	for {
		d, err := daemon.New(cfg)
		if err == nil || !errors.Is(err, os.ErrNotExist) {
			return d, err
		}
		if !told {
			told = true
			cfg.Log.Warn("waiting: this server belongs to no site yet", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(2 * time.Second):
		}
	}
}

// verifyKeyCommand is sshd's AuthorizedKeysCommand for the verification account. Without a set there is no password, and no key.
func verifyKeyCommand(stdout io.Writer) *cobra.Command {
	etc := daemon.Defaults(nil).Etc
	c := &cobra.Command{
		Use: "verify-key", Short: "Print the verification account's key for ssh", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			text, err := os.ReadFile(filepath.Join(etc, peers.VerifySecret))
			if err != nil {
				return err
			}
			secret := strings.TrimSpace(string(text))
			if secret == "" {
				return fmt.Errorf("%s is empty", peers.VerifySecret)
			}
			key, err := verify.SSHKey(secret)
			if err != nil {
				return err
			}
			fmt.Fprintf(stdout, "restrict %s", ssh.MarshalAuthorizedKey(key.PublicKey()))
			return nil
		},
	}
	c.Flags().StringVar(&etc, "etc", etc, "the configuration `directory`")
	return c
}

func checkCommand(stdout io.Writer) *cobra.Command {
	cfg := daemon.Defaults(nil)
	c := &cobra.Command{
		Use: "check [SERVICE…]", Short: "Have the services' own checkers look at their configuration",
		RunE: func(cmd *cobra.Command, names []string) error {
			verdicts, err := daemon.Check(cmd.Context(), cfg, names)
			if err != nil {
				return err
			}
			bad := 0
			for _, v := range verdicts {
				fmt.Fprintf(stdout, "%-8s %-14s %5d ms  %s\n", v.Result, v.Service, v.Duration.Milliseconds(), v.Title)
				if v.Result != check.Pass {
					bad++
					fmt.Fprintln(stdout, v.Output)
				}
			}
			if bad > 0 {
				return fmt.Errorf("%d of %d checks are not good", bad, len(verdicts))
			}
			return nil
		},
	}
	return c
}

// checkSiteCommand is for the checker of site.yaml, which runs it on the file as it would be.
func checkSiteCommand() *cobra.Command {
	cfg := daemon.Defaults(nil)
	return &cobra.Command{
		Use: "check-site", Short: "Look for mistakes in the site's settings", Args: cobra.NoArgs, Hidden: true,
		RunE: func(*cobra.Command, []string) error { return daemon.CheckSite(cfg) },
	}
}

func attestCommand(log *slog.Logger, stdout io.Writer) *cobra.Command {
	state, port := layout.StateDir, layout.PeerPort
	c := &cobra.Command{
		Use: "attest", Short: "Ask every other server what it holds", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			atts, err := attest(cmd.Context(), state, port, log)
			if err != nil {
				return err
			}
			return json.NewEncoder(stdout).Encode(atts)
		},
	}
	c.Flags().StringVar(&state, "state", state, "the server's state `directory`")
	c.Flags().IntVar(&port, "peer-port", port, "`port` of the other servers")
	return c
}

// attest asks all pinned peers. A server without peers.yaml, or without peers, has nobody to ask: an empty list.
func attest(ctx context.Context, state string, port int, log *slog.Logger) ([]roles.Attestation, error) {
	p, err := siteconf.LoadPeers(state)
	if peers.Absent(err) {
		return []roles.Attestation{}, nil
	}
	if err != nil {
		return nil, err
	}
	if len(p.Peers) == 0 {
		return []roles.Attestation{}, nil
	}
	id, err := peers.LoadIdentity(state)
	if err != nil {
		return nil, err
	}
	atts, why := peers.NewClient(id, port).AttestAll(ctx, p.Peers)
	for name, err := range why {
		log.Warn("server does not attest", "server", name, "err", err)
	}
	return atts, nil
}
