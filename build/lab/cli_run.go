package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// detach is the key that leaves an attached console: Ctrl-].
const detach = 0x1d

func (v *verbs) exec() *cobra.Command {
	return &cobra.Command{
		Use: "exec SERVER -- COMMAND…", Short: "Run a command on a server as root", Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.ArgsLenAtDash() != 1 {
				return errors.New("put two dashes before the command: lab exec SERVER -- COMMAND")
			}
			l, err := v.lab()
			if err != nil {
				return err
			}
			return l.ExecStreams(cmd.Context(), args[0], Streams{In: os.Stdin, Out: v.out, Err: cmd.ErrOrStderr()}, args[1:]...)
		},
	}
}

func (v *verbs) client() *cobra.Command {
	return &cobra.Command{
		Use: "client -- COMMAND…", Short: "Run a command on the client computer of the lab's office (curl, smbclient, mariadb, tcpdump, sh…)", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.ArgsLenAtDash() != 0 {
				return errors.New("put two dashes before the command: lab client -- COMMAND")
			}
			l, err := v.lab()
			if err != nil {
				return err
			}
			c, start, err := l.ClientCommand(cmd.Context(), args...)
			if err != nil {
				return err
			}
			c.Stdin, c.Stdout, c.Stderr = os.Stdin, v.out, cmd.ErrOrStderr()
			return finish(cmd.Context(), c, start)
		},
	}
}

func (v *verbs) kernelClient() *cobra.Command {
	return &cobra.Command{
		Use: "kernel-client SCRIPT", Short: "Run a shell script on a client computer with a kernel of its own (NFS mounts); it boots for it", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := v.lab()
			if err != nil {
				return err
			}
			out, err := l.KernelClient(cmd.Context(), args[0])
			_, werr := v.out.Write(out)
			return errors.Join(err, werr)
		},
	}
}

func (v *verbs) console() *cobra.Command {
	var log bool
	c := &cobra.Command{
		Use: "console SERVER", Short: "Attach to a server's console (leave with Ctrl-]), or print what it has shown", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := v.lab()
			if err != nil {
				return err
			}
			s, err := l.Server(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if log {
				f, err := os.Open(l.Folder.ConsoleLog(args[0]))
				if errors.Is(err, os.ErrNotExist) {
					return nil // never switched on
				}
				if err != nil {
					return fmt.Errorf("read the console of %s: %w", args[0], err)
				}
				defer f.Close()
				_, err = io.Copy(v.out, f)
				return err
			}
			con, err := s.Console(cmd.Context())
			if err != nil {
				return err
			}
			defer func() { _ = con.Close() }()
			return attach(con, os.Stdin, v.out)
		},
	}
	c.Flags().BoolVar(&log, "log", false, "print the recorded console instead")
	return c
}

// attach copies between a terminal (or a pipe) and a console. A terminal leaves with the detach key; a pipe's end leaves the
// console after what it made the server say has had a moment to arrive.
func attach(con io.ReadWriteCloser, in *os.File, out io.Writer) error {
	if term.IsTerminal(int(in.Fd())) {
		old, err := term.MakeRaw(int(in.Fd()))
		if err != nil {
			return fmt.Errorf("attach the terminal: %w", err)
		}
		defer func() { _ = term.Restore(int(in.Fd()), old) }()
	}
	done := make(chan error, 2)
	go func() {
		_, err := io.Copy(out, con)
		done <- err
	}()
	go func() {
		buf := make([]byte, 1024)
		for {
			n, err := in.Read(buf)
			at := slices.Index(buf[:n], detach)
			if at >= 0 {
				n = at
			}
			if n > 0 {
				if _, werr := con.Write(buf[:n]); werr != nil {
					done <- werr
					return
				}
			}
			if at >= 0 {
				done <- nil
				return
			}
			if err != nil {
				time.Sleep(time.Second)
				done <- nil
				return
			}
		}
	}()
	return <-done
}

// print shows the status to a person.
func (s Status) print(out io.Writer) error {
	accel := ""
	if s.KVM {
		accel = ", KVM"
	}
	fmt.Fprintf(out, "lab %s (%s%s), image %s\n\n", s.Dir, s.Kind, accel, s.Image)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SERVER\tPOWER\tSTATE\tROLE\tREADY\tADDRESS\tSET\tBAYS")
	for _, v := range s.Servers {
		var bays []string
		for _, b := range v.Bays {
			if b.Serial != "" {
				bays = append(bays, fmt.Sprintf("%d:%s", b.Bay, b.Serial))
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", v.Name, v.Power, v.State, dash(string(v.Role)), map[bool]string{true: "yes", false: "no"}[v.Ready],
			v.Addresses.Management, dash(short(v.Set)), dash(strings.Join(bays, " ")))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(s.Shelf) > 0 {
		var serials []string
		for _, d := range s.Shelf {
			serials = append(serials, d.Serial)
		}
		fmt.Fprintf(out, "\non the shelf: %s\n", strings.Join(serials, " "))
	}
	fmt.Fprintln(out)
	for _, f := range s.Forwards {
		fmt.Fprintf(out, "%-24s %s\n", f.Name, f.URL)
	}
	fmt.Fprintf(out, "%-24s %s, password %s\n", "login", s.Admin.User, s.Admin.Password)
	return nil
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// short is the first group of a UUID.
func short(s string) string {
	before, _, _ := strings.Cut(s, "-")
	return before
}

func modified(path string) time.Time {
	st, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return st.ModTime()
}
