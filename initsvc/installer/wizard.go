package installer

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"sayasystems.com/atlas/image/install"
)

// errLeave ends the wizard without installing.
var errLeave = errors.New("left by the administrator")

// interview asks all questions on c, shows the summary and has it confirmed. d holds the answers, also when it fails.
func interview(ctx context.Context, c *console, d *draft, find finder) error {
	if err := look(ctx, c, d, find); err != nil {
		return err
	}
	c.printf("Enter takes the answer in [brackets]. back returns to the question before,\nlist looks for disks again.\n")
	qs := questions()
	for {
		if err := askAll(ctx, c, d, find, qs); err != nil {
			return err
		}
		again, err := confirm(c, d)
		if err != nil {
			return err
		}
		if !again {
			return nil
		}
	}
}

func look(ctx context.Context, c *console, d *draft, find finder) error {
	hw, err := find(ctx)
	if err != nil {
		return fmt.Errorf("look at the hardware: %w", err)
	}
	d.hw = hw
	hw.show(c)
	c.printf("\n")
	return nil
}

func askAll(ctx context.Context, c *console, d *draft, find finder, qs []question) error {
	told := -1 // question whose explanation stands just above
	for i := 0; i < len(qs); {
		q := qs[i]
		if q.skip != nil && q.skip(d) {
			i++
			continue
		}
		s, err := put(c, d, q, told != i)
		told = i
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		switch strings.ToLower(s) {
		case "back":
			i, told = before(qs, d, i), -1
			continue
		case "list":
			if !q.secret {
				if err := look(ctx, c, d, find); err != nil {
					return err
				}
				continue
			}
		}
		if s == "" && q.def != nil {
			s = q.def(d)
		}
		if s == "" {
			c.printf("  An answer is needed here.\n")
			continue
		}
		err = q.take(d, s)
		var b errBefore
		switch {
		case errors.As(err, &b):
			c.printf("  No: %v.\n", err)
			i = before(qs, d, i)
		case err != nil:
			c.printf("  No: %v.\n", err)
		default:
			d.given[q.key] = true
			i++
		}
	}
	return nil
}

// put shows q, explained if explain is set, and reads what was typed.
func put(c *console, d *draft, q question, explain bool) (string, error) {
	if explain {
		c.printf("\n")
		if q.list {
			d.hw.list(c.out)
		}
		if q.help != nil {
			c.printf("%s\n", q.help(d))
		}
	}
	prompt := q.label
	if q.def != nil {
		switch def := q.def(d); {
		case def != "" && q.secret:
			prompt += " [as before]"
		case def != "":
			prompt += " [" + def + "]"
		}
	}
	if q.secret {
		return c.secret(prompt + ": ")
	}
	return c.ask(prompt + ": ")
}

// before is the question asked before number i; the first stays the first.
func before(qs []question, d *draft, i int) int {
	for j := i - 1; j >= 0; j-- {
		if qs[j].skip == nil || !qs[j].skip(d) {
			return j
		}
	}
	return i
}

// confirm shows what will be done and asks for consent, and for each disk that holds something its bay or serial. again is true
// when the person wants to change an answer.
func confirm(c *console, d *draft) (again bool, err error) {
	forget(d)
	plan, err := install.Check(allErased(d.a), d.hw.disks, install.Limits{NoSystemDisk: d.namespace})
	summary(c, d, plan)
	if err != nil {
		c.printf("\nThis cannot be installed:\n%v\n", err)
		_, err := c.ask("Press Enter to change the answers: ")
		return true, err
	}
	for {
		s, err := c.ask("\nType install to begin, back to change something, quit to leave: ")
		if err != nil {
			return false, err
		}
		switch strings.ToLower(s) {
		case "back", "change":
			return true, nil
		case "quit":
			return false, errLeave
		case "install":
			ok, err := eraseAll(c, d, plan)
			return !ok, err
		}
	}
}

// eraseAll has every disk that holds something confirmed by typing its bay or serial.
func eraseAll(c *console, d *draft, plan install.Plan) (bool, error) {
	for _, k := range plan.Erased() {
		c.printf("\nDisk %s holds %s.\nInstalling destroys that for good.\n", k.Name(), k.Holds())
		var what []string
		if k.Serial != "" {
			what = append(what, "serial")
		}
		if k.Bay > 0 {
			what = append(what, "bay")
		}
		for tries := 0; ; tries++ {
			s, err := c.ask("Type its " + strings.Join(what, " or ") + " to allow it, back to change something: ")
			if err != nil {
				return false, err
			}
			if strings.EqualFold(s, "back") || tries == 4 {
				forget(d)
				return false, nil
			}
			if (k.Serial != "" && s == k.Serial) || (k.Bay > 0 && (s == fmt.Sprint(k.Bay) || strings.EqualFold(s, fmt.Sprintf("bay %d", k.Bay)))) {
				allow(d, k)
				break
			}
			c.printf("  No: that is not it. Read it in the line above.\n")
		}
	}
	return true, nil
}

// allow records that k was confirmed.
func allow(d *draft, k install.Disk) {
	each(&d.a, func(c *install.DiskChoice) {
		if *c == choice(k) {
			c.Erase = true
		}
	})
}

// forget takes all consent back.
func forget(d *draft) {
	each(&d.a, func(c *install.DiskChoice) { c.Erase = false })
}

func allErased(a install.Answers) install.Answers {
	a.Set.Disks = append([]install.DiskChoice(nil), a.Set.Disks...)
	each(&a, func(c *install.DiskChoice) { c.Erase = true })
	return a
}

func each(a *install.Answers, f func(*install.DiskChoice)) {
	if a.SystemDisk != (install.DiskChoice{}) {
		f(&a.SystemDisk)
	}
	for i := range a.Set.Disks {
		f(&a.Set.Disks[i])
	}
}

func summary(c *console, d *draft, p install.Plan) {
	a := d.a
	c.printf("\nThis will be done\n")
	row := func(k, format string, args ...any) { c.printf("  %-16s %s\n", k, fmt.Sprintf(format, args...)) }
	row("Server", "%s", a.Server)
	disk := func(k install.Disk) string {
		if h := k.Holds(); h != "" {
			return k.Name() + ", LOSING " + h
		}
		return k.Name()
	}
	if p.System != nil {
		row("System disk", "%s", disk(*p.System))
	}
	if len(p.Members) == 0 {
		row("Disk set", "none")
	} else {
		row("Disk set", "%s, %s", a.Set.Role, a.Set.Level)
		for _, k := range p.Members {
			row("", "%s", disk(k))
		}
	}
	switch {
	case a.New != nil:
		row("New site", "%s", a.New.Name)
		row("Service address", "%s, gateway %s, DNS %s", a.New.Service.Address, orNone(a.New.Service.Gateway), orNone(strings.Join(a.New.Service.DNS, " ")))
		row("Host name", "%s", a.New.Hostname)
		row("Domain", "%s", a.New.Domain)
	case a.Join != nil && a.Join.File:
		row("Join", "%s at %s, code from the stick", d.onStick.Name, d.onStick.Address)
	case a.Join != nil:
		row("Join", "the site of the server at %s", a.Join.Address)
	}
	m := a.Management
	if m.Interface != "" {
		row("Network", "%s", m.Interface)
	}
	row("Management", "%s, gateway %s, DNS %s", m.Address, orNone(m.Gateway), orNone(strings.Join(m.DNS, " ")))
	for _, w := range p.Warnings {
		row("Attention", "%s", w)
	}
}
