package conf

import (
	"bytes"
	"strings"
)

// AccountLine is one line of passwd, shadow, group or gshadow.
type AccountLine struct {
	Raw    string // as it stands, with its end; what Bytes gives
	At     int    // from 1
	Fields []string
}

// Name is the account's or group's; "" of empty lines, comments and the +/- of NIS.
func (l AccountLine) Name() string {
	if len(l.Fields) < 2 || l.Fields[0] == "" || strings.ContainsRune("+-#", rune(l.Fields[0][0])) {
		return ""
	}
	return l.Fields[0]
}

// Set replaces fields: Bytes gives them from then on.
func (l *AccountLine) Set(fields ...string) {
	end := l.Raw[len(strings.TrimRight(l.Raw, "\r\n")):]
	l.Fields, l.Raw = fields, strings.Join(fields, ":")+end
}

// Accounts is one of the four files of accounts.
type Accounts struct{ Lines []AccountLine }

// ParseAccounts reads any bytes.
func ParseAccounts(text []byte) Accounts {
	var a Accounts
	for raw := range strings.Lines(string(text)) {
		l := AccountLine{Raw: raw, At: len(a.Lines) + 1}
		if s := strings.TrimRight(raw, "\r\n"); s != "" {
			l.Fields = strings.Split(s, ":")
		}
		a.Lines = append(a.Lines, l)
	}
	return a
}

// Bytes gives the file's text.
func (a Accounts) Bytes() []byte {
	var b bytes.Buffer
	for _, l := range a.Lines {
		b.WriteString(l.Raw)
	}
	return b.Bytes()
}

// Append puts a line at the end.
func (a *Accounts) Append(line string) {
	if n := len(a.Lines); n > 0 && !strings.HasSuffix(a.Lines[n-1].Raw, "\n") {
		a.Lines[n-1].Raw += "\n"
	}
	a.Lines = append(a.Lines, AccountLine{Raw: line + "\n", At: len(a.Lines) + 1, Fields: strings.Split(line, ":")})
}

// Find gives the line of a name; -1 if there is none.
func (a Accounts) Find(name string) int {
	for i, l := range a.Lines {
		if l.Name() == name {
			return i
		}
	}
	return -1
}
