// Atlas is the administrator's command on a server: it asks init and sentry over their sockets, so it needs root and no network.
//
//	atlas status | power off|reboot | set add BAY | set start | service list|start|stop|restart|reload|enable|disable|log|apply | boot | join-code
//	atlas history [PATH] | show COMMIT [PATH] | diff [FROM [TO]] [PATH] | blame FILE | rollback … | release | resync [SERVER]
//	atlas ready | rehearse [SERVICE…] | ledger | accept FINDING --until 24h --why TEXT
//	atlas findings [ack ID] | commit-upgrade [SERVICE…]
//
// Under the names of systemctl, service, journalctl, shutdown and others it does what these do elsewhere: see package habits.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sayasystems.com/atlas/image/layout"
	"sayasystems.com/atlas/sentry/atlas/habits"
	"sayasystems.com/atlas/sentry/initapi"
	"sayasystems.com/atlas/sentry/peers"
	"sayasystems.com/atlas/sentry/site"
	"sayasystems.com/atlas/sentry/sync/state"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if name := filepath.Base(os.Args[0]); habits.Known(name) {
		code := habits.Main(ctx, name, os.Args[1:])
		stop()
		os.Exit(code)
	}
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout); err != nil {
		if code, ok := errors.AsType[exitCode](err); ok {
			stop()
			os.Exit(int(code))
		}
		fmt.Fprintln(os.Stderr, "atlas:", err)
		os.Exit(1)
	}
}

// app is where the command asks and answers.
type app struct {
	init *initapi.Client
	in   *bufio.Reader
	out  io.Writer
	json bool

	initSocket, sentrySocket string
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	a := &app{in: bufio.NewReader(stdin), out: stdout}
	root := &cobra.Command{
		Use: "atlas", Short: "See and steer this ATLAS server", SilenceUsage: true, SilenceErrors: true,
		PersistentPreRun: func(*cobra.Command, []string) { a.init = initapi.NewClient(a.initSocket) },
	}
	root.SetArgs(args)
	root.SetOut(stdout)
	f := root.PersistentFlags()
	f.BoolVar(&a.json, "json", false, "answer in JSON")
	f.StringVar(&a.initSocket, "init-socket", layout.InitSocket, "init's `socket`")
	f.StringVar(&a.sentrySocket, "sentry-socket", layout.AdminSocket, "sentry's `socket`")
	_ = f.MarkHidden("init-socket")
	_ = f.MarkHidden("sentry-socket")
	root.AddCommand(a.statusCommand(), a.readyCommand(), a.rehearseCommand(), a.ledgerCommand(), a.acceptCommand(), a.powerCommand(), a.setCommand(),
		a.serviceCommand(), a.bootCommand(), a.joinCommand(), a.historyCommand(), a.showCommand(), a.diffCommand(), a.blameCommand(), a.rollbackCommand(),
		a.releaseCommand(), a.resyncCommand(), a.findingsCommand(), a.verifyCommand(), a.commitUpgradeCommand())
	return root.ExecuteContext(ctx)
}

func (a *app) powerCommand() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "power off|reboot", Short: "Shut this server down in order", Args: cobra.ExactArgs(1), ValidArgs: []string{"off", "reboot"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] != "off" && args[0] != "reboot" {
				return fmt.Errorf("power %s: only off and reboot are known", args[0])
			}
			if err := a.init.Power(cmd.Context(), initapi.PowerRequest{Action: args[0], Reason: reason}); err != nil {
				return err
			}
			fmt.Fprintln(a.out, "The services are being stopped; then the server goes "+map[string]string{"off": "off.", "reboot": "down and starts again."}[args[0]])
			return nil
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "kept in the log")
	return c
}

func (a *app) bootCommand() *cobra.Command {
	return &cobra.Command{Use: "boot", Short: "How the last start went, by phase", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		b, err := a.init.Boot(cmd.Context())
		if err != nil {
			return err
		}
		if a.json {
			return a.encode(b)
		}
		fmt.Fprintf(a.out, "%s, image %s, started %s: %s after %s\n", b.Server, b.Version, b.Started.Local().Format(time.DateTime), b.Outcome, tenths(b.Total))
		if b.Firmware > 0 {
			fmt.Fprintf(a.out, "  %8s  firmware and boot loader\n", tenths(b.Firmware))
		}
		fmt.Fprintf(a.out, "  %8s  kernel\n", tenths(b.Kernel))
		for _, p := range b.Phases {
			note := ""
			if p.Result != "ok" {
				note = "  " + p.Result
			}
			if p.Note != "" {
				note += "  (" + p.Note + ")"
			}
			fmt.Fprintf(a.out, "  %8s  %s%s\n", tenths(p.Duration), p.Name, note)
		}
		return nil
	}}
}

func (a *app) joinCommand() *cobra.Command {
	var renew bool
	c := &cobra.Command{Use: "join-code", Short: "Show the code with which a new server joins this site", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		path := "/v1/join-code"
		if renew {
			path += "?renew=1"
		}
		var off peers.Offer
		if err := a.sentry(cmd.Context(), http.MethodPost, path, &off); err != nil {
			return err
		}
		if a.json {
			return a.encode(off)
		}
		fmt.Fprintln(a.out, off.Code)
		fmt.Fprintf(a.out, "Valid once, until %s.\n", off.Expires.Local().Format(time.DateTime))
		if off.UsedBy != "" {
			fmt.Fprintf(a.out, "Server %s has used it; for another one: atlas join-code --new\n", off.UsedBy)
		}
		return nil
	}}
	c.Flags().BoolVar(&renew, "new", false, "make a new code; the old one ends")
	return c
}

// sentry asks this server's sentry.
func (a *app) sentry(ctx context.Context, method, path string, out any) error {
	return a.ask(ctx, method, path, nil, out, 30*time.Second)
}

func (a *app) ask(ctx context.Context, method, path string, in, out any, patience time.Duration) error {
	h := http.Client{Timeout: patience, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", a.sentrySocket)
	}}}
	defer h.CloseIdleConnections()
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("ask sentry: %w", err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://sentry"+path, body)
	if err != nil {
		return fmt.Errorf("ask sentry: %w", err)
	}
	res, err := h.Do(req)
	if err != nil {
		return fmt.Errorf("ask sentry: %w (is it running? `atlas service list`)", errors.Unwrap(err))
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		var e struct {
			Error string `json:"error"`
		}
		_ = json.NewDecoder(res.Body).Decode(&e) // the status says it too
		if e.Error == "" || res.StatusCode == http.StatusInternalServerError {
			return fmt.Errorf("ask sentry: %s %s", res.Status, state.Printable(e.Error))
		}
		return errors.New(state.Printable(e.Error))
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return fmt.Errorf("ask sentry: %w", err)
	}
	return nil
}

func (a *app) site(ctx context.Context) (site.Site, error) {
	var s site.Site
	return s, a.sentry(ctx, http.MethodGet, "/v1/status", &s)
}

func (a *app) encode(v any) error {
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func tenths(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
