package steps

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// dovecotLetters are the short variables of 2.3 and their names in 2.4.
var dovecotLetters = map[byte]string{
	'u': "user", 'n': "user | username", 'd': "user | domain", 'h': "home", 's': "protocol", 'l': "local_ip", 'r': "remote_ip", 'w': "password",
	'i': "uid", 'p': "process:pid", 'a': "local_port", 'b': "remote_port",
}

var (
	dovecotShort    = regexp.MustCompile(`^%(-?\d*(?:\.-?\d+)?)([LUE]*)([a-z])`)
	dovecotVariable = regexp.MustCompile(`^%[{a-zA-Z0-9-]`)
	dovecotLong     = regexp.MustCompile(`^%([LU]*)\{([a-z_]+)\}`)
)

// dovecotVars puts the variables of 2.4 for those of 2.3. What it cannot say is an error.
func dovecotVars(s string) (string, error) {
	var b strings.Builder
	for s != "" {
		n := strings.IndexAny(s, "%$")
		if n < 0 {
			break
		}
		b.WriteString(s[:n])
		s = s[n:]
		if s[0] == '$' {
			if m := regexp.MustCompile(`^\$([a-z_]+)`).FindStringSubmatch(s); m != nil {
				b.WriteString("$SET:" + m[1])
				s = s[len(m[0]):]
				continue
			}
			b.WriteByte('$')
			s = s[1:]
			continue
		}
		if strings.HasPrefix(s, "%%") {
			b.WriteString("%%")
			s = s[2:]
			continue
		}
		var name, filters string
		if m := dovecotLong.FindStringSubmatch(s); m != nil {
			long := map[string]string{
				"user": "user", "username": "user | username", "domain": "user | domain", "home": "home", "rip": "remote_ip", "lip": "local_ip",
				"service": "protocol", "pid": "process:pid", "uid": "uid", "gid": "gid", "session": "session", "auth_user": "auth_user", "login_user": "login_user", "hostname": "system:hostname",
			}
			name = long[m[2]]
			filters = m[1]
			if name == "" {
				return "", fmt.Errorf("the variable %s has no counterpart in Dovecot 2.4", m[0])
			}
			s = s[len(m[0]):]
		} else if m := dovecotShort.FindStringSubmatch(s); m != nil && dovecotLetters[m[3][0]] != "" && !strings.Contains(m[2], "E") {
			name, filters = dovecotLetters[m[3][0]], m[2]
			s = s[len(m[0]):]
			if m[1] != "" { // %1n: one character; %2.1n: one from the third on
				from, width, two := strings.Cut(m[1], ".")
				if !two {
					from, width = "0", from
				}
				f, err1 := strconv.Atoi(from)
				w, err2 := strconv.Atoi(width)
				if err1 != nil || err2 != nil || f < 0 || w <= 0 {
					return "", fmt.Errorf("the variable %s has no counterpart in Dovecot 2.4", m[0])
				}
				name += fmt.Sprintf(" | substr(%d, %d)", f, w)
			}
		} else {
			if !dovecotVariable.MatchString(s) { // a percent sign like any other
				b.WriteByte('%')
				s = s[1:]
				continue
			}
			return "", fmt.Errorf("the variable that starts with %.10q has no counterpart in Dovecot 2.4", s)
		}
		for _, f := range filters {
			name += map[rune]string{'L': " | lower", 'U': " | upper"}[f]
		}
		b.WriteString("%{" + name + "}")
	}
	return b.String() + s, nil
}

// dovecotShorten puts the variables of 2.3 for those of 2.4.
func dovecotShorten(s string) (string, error) {
	var err error
	out := regexp.MustCompile(`%\{[^}]*\}`).ReplaceAllStringFunc(s, func(m string) string {
		parts := strings.Split(strings.Trim(m, "%{}"), "|")
		for i := range parts {
			parts[i] = strings.TrimSpace(parts[i])
		}
		caps, width := "", ""
		for len(parts) > 1 {
			last := parts[len(parts)-1]
			sub := regexp.MustCompile(`^substr\((\d+), *(\d+)\)$`).FindStringSubmatch(last)
			switch {
			case last == "lower":
				caps = "L"
			case last == "upper":
				caps = "U"
			case sub != nil && sub[1] == "0":
				width = sub[2]
			case sub != nil:
				width = sub[1] + "." + sub[2]
			default:
				last = ""
			}
			if last == "" {
				break
			}
			parts = parts[:len(parts)-1]
		}
		name := strings.Join(parts, " | ")
		for c, n := range dovecotLetters {
			if n == name {
				return "%" + width + caps + string(c)
			}
		}
		if name == "session" || name == "auth_user" || name == "gid" {
			return m
		}
		err = fmt.Errorf("the variable %s has no counterpart in Dovecot 2.3", m)
		return m
	})
	return strings.ReplaceAll(out, "$SET:", "$"), err
}
