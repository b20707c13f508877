package pid1

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sayasystems.com/atlas/initsvc/devlog"
	"sayasystems.com/atlas/initsvc/logfile"
)

// logs are the log files of init itself and of /dev/log: in memory first, on the set once it is there.
type logs struct {
	dirs Dirs

	mu     sync.Mutex
	files  map[string]*logfile.File
	onSet  bool
	closed bool
}

func newLogs(d Dirs) *logs { return &logs{dirs: d, files: map[string]*logfile.File{}} }

// write appends p to the named log.
func (l *logs) write(name string, p []byte) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	f := l.files[name]
	if f == nil {
		if l.onSet {
			f = logfile.New(filepath.Join(l.dirs.Log, name+".log"), 0, 0)
		} else {
			f = logfile.New(filepath.Join(l.dirs.RunLog, name+".log"), 512<<10, 1)
		}
		l.files[name] = f
	}
	l.mu.Unlock()
	_, _ = f.Write(p)
}

// Of the files that syslog's messages go to. logrotate keeps them small; the limit is for when it does not run.
const (
	syslogLimit = 64 << 20
	groupAdm    = 4 // may read them, in every Debian
)

// syslog appends m to the files beside the services' own where it belongs, or to one file while there is no set.
func (l *logs) syslog(m devlog.Message) {
	host, _ := os.Hostname()
	line := m.Line(host)
	l.mu.Lock()
	onSet := l.onSet && !l.closed
	var files []*logfile.File
	if onSet {
		for _, name := range m.Files() {
			f := l.files["/"+name]
			if f == nil {
				f = logfile.NewShared(filepath.Join(filepath.Dir(l.dirs.Log), name), syslogLimit, 0, groupAdm)
				l.files["/"+name] = f
			}
			files = append(files, f)
		}
	}
	l.mu.Unlock()
	if !onSet {
		l.write("syslog", line)
		return
	}
	for _, f := range files {
		_, _ = f.Write(line)
	}
}

// toSet goes on writing on the set.
func (l *logs) toSet() { l.move(true) }

// fromSet lets go of the set, so that it can be unmounted.
func (l *logs) fromSet() { l.move(false) }

func (l *logs) move(onSet bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.files {
		_ = f.Close()
	}
	clear(l.files)
	l.onSet = onSet
}

// Handler returns a slog handler that hands every record to out, to init's log file and to the ring that the console shows.
func Handler(out func(line string), ring *logfile.Ring, level slog.Level) *LogHandler {
	h := &LogHandler{ring: ring, out: out}
	h.text = slog.NewTextHandler(h, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{} // the file's own stamp comes first
		}
		if m, ok := a.Value.Any().(net.HardwareAddr); ok { // just bytes to slog
			a.Value = slog.StringValue(m.String())
		}
		return a
	}})
	return h
}

// LogHandler is init's own logging. It may be used before there is any file system.
type LogHandler struct {
	text *slog.TextHandler
	ring *logfile.Ring
	out  func(string)

	mu   sync.Mutex
	file func([]byte)
}

// Write takes one formatted record.
func (h *LogHandler) Write(p []byte) (int, error) {
	line := logfile.Clean(string(p))
	h.ring.Add(time.Now().UTC().Format("15:04:05 ") + line)
	if h.out != nil {
		h.out(line)
	}
	h.mu.Lock()
	file := h.file
	h.mu.Unlock()
	if file != nil {
		file(logfile.Stamp(time.Now(), "init", line))
	}
	return len(p), nil
}

// Enabled tells whether records of level l are kept.
func (h *LogHandler) Enabled(ctx context.Context, l slog.Level) bool { return h.text.Enabled(ctx, l) }

// Handle writes one record.
func (h *LogHandler) Handle(ctx context.Context, r slog.Record) error { return h.text.Handle(ctx, r) }

// WithAttrs adds attributes.
func (h *LogHandler) WithAttrs(a []slog.Attr) slog.Handler { return h.text.WithAttrs(a) }

// WithGroup opens a group.
func (h *LogHandler) WithGroup(name string) slog.Handler { return h.text.WithGroup(name) }

// LogTo makes h write into this server's log files too.
func (s *Server) LogTo(h *LogHandler) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.file = func(p []byte) { s.logs.write("init", p) }
}

// LogsOnSet tells whether the set's log files are there.
func (s *Server) LogsOnSet() bool {
	s.logs.mu.Lock()
	defer s.logs.mu.Unlock()
	return s.logs.onSet
}
