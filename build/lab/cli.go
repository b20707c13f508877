package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"sayasystems.com/atlas/build/lab/folder"
	"sayasystems.com/atlas/build/lab/namespace"
	"sayasystems.com/atlas/build/lab/vm"
)

// Main is `build lab …`: args are what follows the word lab.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	switch {
	case len(args) > 0 && args[0] == namespace.HelperVerb:
		return namespace.Helper(args[1:])
	case len(args) == 2 && args[0] == forwardVerb:
		return forwardMain(ctx, args[1], stdout)
	}
	root := newCommand(stdout)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return root.ExecuteContext(ctx)
}

// verbs is what the commands share: the flags that each of them has, and where they answer.
type verbs struct {
	dir  string
	json bool
	out  io.Writer
}

func newCommand(out io.Writer) *cobra.Command {
	v := &verbs{out: out}
	root := &cobra.Command{
		Use:   "lab",
		Short: "Run a site of two or three servers on this machine",
		Long: `Run a site of two or three servers on this machine: real images in virtual machines, or their root and
init in Linux namespaces. Servers are called left, right and middle. State lies in the folder --dir.`,
		SilenceUsage: true, SilenceErrors: true,
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "build lab"},
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.PersistentFlags().StringVar(&v.dir, "dir", "", "the lab's folder (default $ATLAS_LAB, or lab in the cache)")
	root.PersistentFlags().BoolVar(&v.json, "json", false, "answer in JSON")
	root.AddCommand(v.up(), v.down(), v.status(), v.install(), v.stick(), v.power(), v.swap(), v.bay(), v.disk(), v.cable(),
		v.exec(), v.client(), v.kernelClient(), v.atSwitch(), v.console(), v.wait(), v.snapshot(), v.forward())
	return root
}

func (v *verbs) lab() (*Lab, error) { return Open(v.dir) }

func (v *verbs) answer(value any) error {
	e := json.NewEncoder(v.out)
	e.SetIndent("", "  ")
	return e.Encode(value)
}

func (v *verbs) up() *cobra.Command {
	var o Options
	var gib float64
	c := &cobra.Command{
		Use: "up", Short: "Make the lab, install its servers from the image and boot them; or switch an existing lab on", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := v.lab()
			if err != nil {
				return err
			}
			o.Progress = v.out
			if v.json {
				o.Progress = cmd.ErrOrStderr()
			}
			o.DiskSize = int64(gib * (1 << 30))
			start := time.Now()
			if err := l.Up(cmd.Context(), o); err != nil {
				return err
			}
			fmt.Fprintf(o.Progress, "lab is up in %.1f s\n\n", time.Since(start).Seconds())
			return v.show(cmd.Context(), l)
		},
	}
	f := c.Flags()
	f.StringVar(&o.Kind, "kind", "vm", "vm, namespace, or auto: vm where KVM works, else namespace")
	f.IntVar(&o.Servers, "servers", 2, "2 or 3 (the third gets no disk set)")
	f.StringVar(&o.Image, "image", "", "atlas-VERSION.img (default: the newest in out)")
	f.StringToStringVar(&o.Others, "other-image", nil, "`SERVER=FILE` for a server that runs another image")
	f.IntVar(&o.Disks, "disks", 2, "disks in each set")
	f.Float64Var(&gib, "disk-size", 1, "size of each disk in GiB")
	f.IntVar(&o.MemoryMiB, "memory", 1024, "MiB for each virtual machine")
	f.IntVar(&o.CPUs, "cpus", 0, "processors of each virtual machine (default 1, with KVM 2)")
	f.StringSliceVar(&o.Services, "services", nil, "service packs that the site runs (default: those that are on by default), or all")
	f.BoolVar(&o.Blank, "blank", false, "make the servers only: nothing installed, power off")
	f.BoolVar(&o.Keep, "keep", false, "leave the servers running when something fails")
	return c
}

// NewestImage returns the newest image in a directory, "" if there is none.
func NewestImage(dir string) string {
	found, err := filepath.Glob(filepath.Join(dir, "atlas-*.img"))
	if err != nil || len(found) == 0 {
		return ""
	}
	return slices.MaxFunc(found, func(a, b string) int { return modified(a).Compare(modified(b)) })
}

func (v *verbs) down() *cobra.Command {
	var keep bool
	c := &cobra.Command{
		Use: "down", Short: "End the lab and remove it with all its disks", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := v.lab()
			if err != nil {
				return err
			}
			return l.Down(cmd.Context(), keep)
		},
	}
	c.Flags().BoolVar(&keep, "keep", false, "shut the servers down in order and keep their disks; lab up switches them on again")
	return c
}

func (v *verbs) status() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show the servers, their disks, addresses and what they say of themselves", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := v.lab()
			if err != nil {
				return err
			}
			return v.show(cmd.Context(), l)
		},
	}
}

func (v *verbs) show(ctx context.Context, l *Lab) error {
	st, err := l.Status(ctx)
	if err != nil {
		return err
	}
	if v.json {
		return v.answer(st)
	}
	return st.print(v.out)
}

func (v *verbs) install() *cobra.Command {
	return &cobra.Command{
		Use: "install SERVER", Short: "Install a server from the stick, unattended, erasing its disks", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := v.lab()
			if err != nil {
				return err
			}
			return newProgress(v.out).step("install "+args[0], func() error { return l.Install(cmd.Context(), args[0]) })
		},
	}
}

func (v *verbs) stick() *cobra.Command {
	var erase bool
	c := &cobra.Command{
		Use: "stick SERVER|none", Short: "Put install.yaml for a server onto the install stick, or take it off: then the wizard asks", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := v.lab()
			if err != nil {
				return err
			}
			if args[0] == "none" {
				args[0] = ""
			}
			return l.Answers(cmd.Context(), args[0], erase)
		},
	}
	c.Flags().BoolVar(&erase, "erase", false, "allow what is on the server's disks to be lost")
	return c
}

func (v *verbs) power() *cobra.Command {
	var timeout time.Duration
	var usb, cd bool
	c := &cobra.Command{
		Use: "power on|off|cut|reset SERVER", Short: "Switch a server on, shut it down in order, take its power away, or press reset", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := v.lab()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), timeout, fmt.Errorf("it took longer than %v", timeout))
			defer cancel()
			s, err := l.Server(ctx, args[1])
			if err != nil {
				return err
			}
			switch args[0] {
			case "on":
				from := ""
				switch {
				case usb || cd:
					if _, err := l.Stick(ctx, args[1]); err != nil {
						return err
					}
					if from = vm.Stick; cd {
						from = vm.CD
					}
				}
				return l.PowerOn(ctx, args[1], from)
			case "off":
				return s.PowerOff(ctx)
			case "cut":
				return s.Cut(ctx)
			case "reset":
				return s.Reset(ctx)
			}
			return fmt.Errorf("power %s? Say on, off, cut or reset", args[0])
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", 3*time.Minute, "how long it may take")
	c.Flags().BoolVar(&usb, "stick", false, "on: boot from the install stick")
	c.Flags().BoolVar(&cd, "cd", false, "on: boot from the image in a CD drive")
	return c
}

func (v *verbs) swap() *cobra.Command {
	return &cobra.Command{
		Use: "swap SERVER SERVER", Short: "Swap the disk sets of two servers (both off)", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := v.lab()
			if err != nil {
				return err
			}
			return l.Swap(cmd.Context(), args[0], args[1])
		},
	}
}

func (v *verbs) bay() *cobra.Command {
	return &cobra.Command{
		Use: "bay pull|insert SERVER BAY [DISK]", Short: "Pull a disk onto the shelf, or insert one (its serial, or new for a blank one)", Args: cobra.RangeArgs(3, 4),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := v.lab()
			if err != nil {
				return err
			}
			bay, err := strconv.Atoi(args[2])
			if err != nil {
				return fmt.Errorf("bay %q: must be a number from 1 to %d", args[2], folder.Bays)
			}
			s, err := l.Server(cmd.Context(), args[1])
			if err != nil {
				return err
			}
			var d folder.Disk
			switch {
			case args[0] == "pull" && len(args) == 3:
				d, err = s.Pull(cmd.Context(), bay)
			case args[0] == "insert":
				d, err = l.Insert(cmd.Context(), args[1], bay, append(args, "")[3])
			default:
				return errors.New("say: bay pull SERVER BAY, or bay insert SERVER BAY [DISK]")
			}
			if err != nil {
				return err
			}
			if v.json {
				return v.answer(d)
			}
			fmt.Fprintln(v.out, d.Serial)
			return nil
		},
	}
}

func (v *verbs) disk() *cobra.Command {
	return &cobra.Command{
		Use: "disk error|hang|slow|ok SERVER BAY", Short: "Make a disk fail, hang or crawl, or work again (bay 0: the system disk)", Args: cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := v.lab()
			if err != nil {
				return err
			}
			bay, err := strconv.Atoi(args[2])
			if err != nil {
				return fmt.Errorf("bay %q: must be a number from 0 to %d", args[2], folder.Bays)
			}
			s, err := l.Server(cmd.Context(), args[1])
			if err != nil {
				return err
			}
			return s.Fault(cmd.Context(), bay, args[0])
		},
	}
}

func (v *verbs) cable() *cobra.Command {
	return &cobra.Command{
		Use: "cable cut|join SERVER [NIC]", Short: "Cut or join a network cable", Args: cobra.RangeArgs(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] != "cut" && args[0] != "join" {
				return fmt.Errorf("cable %s? Say cut or join", args[0])
			}
			l, err := v.lab()
			if err != nil {
				return err
			}
			s, err := l.Server(cmd.Context(), args[1])
			if err != nil {
				return err
			}
			return s.Cable(cmd.Context(), append(args, "")[2], args[0] == "join")
		},
	}
}

func (v *verbs) wait() *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use: "wait SERVER primary|secondary|holding|ready|up|off", Short: "Wait until a server is what is asked for", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := v.lab()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			start := time.Now()
			if err := l.WaitFor(ctx, args[0], args[1]); err != nil {
				return err
			}
			if v.json {
				return v.answer(map[string]any{"server": args[0], "is": args[1], "seconds": time.Since(start).Seconds()})
			}
			fmt.Fprintf(v.out, "%s is %s after %.1f s\n", args[0], args[1], time.Since(start).Seconds())
			return nil
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait")
	return c
}

func (v *verbs) snapshot() *cobra.Command {
	return &cobra.Command{
		Use: "snapshot save|restore NAME", Short: "Save or restore the whole lab's disks (all servers off); NAME may be a path, to share it between labs", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := v.lab()
			if err != nil {
				return err
			}
			switch args[0] {
			case "save":
				return l.Save(cmd.Context(), args[1])
			case "restore":
				return l.Restore(cmd.Context(), args[1])
			}
			return fmt.Errorf("snapshot %s? Say save or restore", args[0])
		},
	}
}

func (v *verbs) forward() *cobra.Command {
	return &cobra.Command{
		Use: "forward", Short: "Make the dashboards reachable at 127.0.0.1 of this machine (lab up does it)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := v.lab()
			if err != nil {
				return err
			}
			if err := l.Forward(cmd.Context()); err != nil {
				return err
			}
			state, err := l.Folder.Load()
			if err != nil {
				return err
			}
			if v.json {
				return v.answer(state.Forwards)
			}
			for _, f := range state.Forwards {
				fmt.Fprintf(v.out, "%-28s %s\n", f.Name, f.URL)
			}
			return nil
		},
	}
}
