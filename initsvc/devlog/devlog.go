// Package devlog serves /dev/log, to which daemons send what they have to say by syslog(3), and reads the kernel's messages: each
// becomes a line of the files below /var/log in which a Debian administrator looks for it. It interprets no more than priority, tag
// and text (RFC 3164), bounds lengths and rates, and keeps nothing itself.
package devlog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sayasystems.com/atlas/initsvc/logfile"
)

// Message is one syslog message.
type Message struct {
	Facility int
	Severity int // 0 emergency … 7 debug
	At       time.Time
	PID      int    // of the sender; 0 if not known
	Text     string // "tag[pid]: text"
}

// Facilities that have files of their own (syslog(3)).
const (
	facKernel   = 0
	facUser     = 1
	facMail     = 2
	facAuth     = 4
	facCron     = 9
	facAuthPriv = 10
)

// Files are the files below /var/log that the message goes to, as in Debian's rsyslog.conf.
func (m Message) Files() []string {
	switch m.Facility {
	case facAuth, facAuthPriv: // not in syslog, which more people may read
		return []string{"auth.log"}
	case facKernel:
		return []string{"syslog", "kern.log"}
	case facUser:
		return []string{"syslog", "user.log"}
	case facMail:
		return []string{"syslog", "mail.log"}
	case facCron:
		return []string{"syslog", "cron.log"}
	}
	return []string{"syslog"}
}

// Line is the message as rsyslog writes it since Debian 12: time, host, tag, text.
func (m Message) Line(host string) []byte {
	return []byte(m.At.Local().Format("2006-01-02T15:04:05.000000-07:00") + " " + cmp.Or(host, "localhost") + " " + m.Text + "\n")
}

// Parse reads a datagram: "<PRI>Mmm dd hh:mm:ss tag[pid]: text" with or without the time. It accepts everything: what has no
// priority counts as a notice of a user process.
func Parse(b []byte) Message {
	m := Message{Facility: 1, Severity: 5}
	s := logfile.Clean(strings.TrimRight(string(b), "\x00\n"))
	if rest, ok := strings.CutPrefix(s, "<"); ok {
		if p, text, ok := strings.Cut(rest, ">"); ok && len(p) <= 3 {
			if n, err := strconv.Atoi(p); err == nil && n >= 0 && n < 192 {
				m.Facility, m.Severity, s = n>>3, n&7, text
			}
		}
	}
	// The sender's time has no year and no zone: ours replaces it.
	if len(s) > len(time.Stamp) {
		if _, err := time.Parse(time.Stamp, s[:len(time.Stamp)]); err == nil {
			s = s[len(time.Stamp):]
		}
	}
	m.Text = strings.TrimSpace(s)
	if len(m.Text) > logfile.MaxLine {
		m.Text = m.Text[:logfile.MaxLine]
	}
	return m
}

// perSecond is how many messages are taken in a second; more are counted and told in one line.
const perSecond = 500

// Serve listens at path ("/dev/log") and hands each message to write until ctx ends, with the sender's process ID as the kernel
// vouches for it (0 if it does not).
func Serve(ctx context.Context, path string, write func(Message)) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("syslog socket: %w", err)
	}
	_ = os.Remove(path)
	lc := net.ListenConfig{Control: passCredentials}
	listening, err := lc.ListenPacket(ctx, "unixgram", path)
	if err != nil {
		return fmt.Errorf("syslog socket: %w", err)
	}
	conn, ok := listening.(*net.UnixConn)
	if !ok {
		return fmt.Errorf("syslog socket: is a %T", listening)
	}
	defer func() { _ = conn.Close() }()
	if err := os.Chmod(path, 0o666); err != nil {
		return fmt.Errorf("syslog socket: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	buf, oob := make([]byte, 16<<10), make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	var window time.Time
	taken, dropped := 0, 0
	for {
		n, k, _, _, err := conn.ReadMsgUnix(buf, oob)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("syslog socket: %w", err)
		}
		now := time.Now()
		if now.Sub(window) >= time.Second {
			if dropped > 0 {
				write(Message{Facility: 5, Severity: 4, At: now, Text: fmt.Sprintf("init: %d messages dropped: too many in a second", dropped)})
			}
			window, taken, dropped = now, 0, 0
		}
		if taken++; taken > perSecond {
			dropped++
			continue
		}
		if m := Parse(buf[:n]); m.Text != "" {
			m.At, m.PID = now, sender(oob[:k])
			write(m)
		}
	}
}

// passCredentials lets the kernel tell with each message who sent it. It is called before anybody can send one.
func passCredentials(_, _ string, raw syscall.RawConn) error {
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) }); err != nil {
		return err
	}
	return failed
}

// sender is the process that sent a message with this control data.
func sender(oob []byte) int {
	list, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0
	}
	for i := range list {
		if c, err := unix.ParseUnixCredentials(&list[i]); err == nil {
			return int(c.Pid)
		}
	}
	return 0
}
