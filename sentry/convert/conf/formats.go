package conf

import "strings"

// Format says how a kind of file is written.
type Format struct {
	Comments  string // signs that begin a remark, at the start of a line; the first is used for new ones
	Behind    string // signs that begin a remark behind a value, outside of quotes
	Spaced    bool   // … only after white space
	Equals    bool   // "name = value"
	Space     bool   // "name value"; with Equals both
	Sections  bool   // "[name]"
	Match     bool   // "Match …" begins a block that goes to the next
	Backslash bool   // a line that ends in \ goes on
	Indent    bool   // a line that begins with white space belongs to the one before
	Orders    string // signs that begin an order to the reader
	Quotes    string // signs that protect what is between them
	Doubled   bool   // a quote in quotes is written twice or with \
	AnyCase   bool   // names in capitals are the same
	Same      string // characters that are one and the same in names, for those with - _
	Without   string // characters that do not count in names
}

// SSHD is sshd_config(5).
func SSHD() Format {
	return Format{Comments: "#", Behind: "#", Spaced: true, Equals: true, Space: true, Match: true, Quotes: `"'`, AnyCase: true}
}

// Samba is smb.conf(5): spaces in names do not count, and what follows a value belongs to it.
func Samba() Format {
	return Format{Comments: "#;", Equals: true, Sections: true, Backslash: true, AnyCase: true, Without: " \t"}
}

// PostgreSQL is postgresql.conf.
func PostgreSQL() Format {
	return Format{Comments: "#", Behind: "#", Equals: true, Space: true, Quotes: `'`, Doubled: true, AnyCase: true}
}

// HBA is pg_hba.conf: the kind of connection as name, all other fields as value.
func HBA() Format {
	return Format{Comments: "#", Behind: "#", Space: true, Quotes: `"`, Backslash: true}
}

// MySQL is my.cnf.
func MySQL() Format {
	return Format{Comments: "#;", Behind: "#", Equals: true, Sections: true, Orders: "!", Quotes: `"'`, Same: "-_"}
}

// NFS is nfs.conf(5).
func NFS() Format {
	return Format{Comments: "#;", Equals: true, Sections: true, Backslash: true, AnyCase: true}
}

// Shell is /etc/default/…: NAME="value".
func Shell() Format {
	return Format{Comments: "#", Behind: "#", Spaced: true, Equals: true, Backslash: true, Quotes: `"'`}
}

// Sysctl is sysctl.conf(5): / and . are the same.
func Sysctl() Format { return Format{Comments: "#;", Equals: true, Same: "./"} }

// LoginDefs is login.defs(5).
func LoginDefs() Format { return Format{Comments: "#", Space: true} }

// PAM is pam.d(5): the kind of module as name, the rest as value.
func PAM() Format { return Format{Comments: "#", Space: true, Backslash: true} }

// Slapd is slapd.conf(5).
func Slapd() Format { return Format{Comments: "#", Space: true, Indent: true, AnyCase: true} }

// Kerberos is krb5.conf(5): of what stands in braces each line is a setting of the section.
func Kerberos() Format { return Format{Comments: "#;", Equals: true, Sections: true} }

// Chrony is chrony.conf(5), ntp.conf(5) is near enough.
func Chrony() Format { return Format{Comments: "#!;%", Space: true, AnyCase: true} }

// Ntp is ntp.conf(5).
func Ntp() Format {
	return Format{Comments: "#", Behind: "#", Spaced: true, Space: true, AnyCase: true}
}

// Fold makes one spelling of all that a reader takes for the same name.
func (f Format) Fold(name string) string {
	if f.AnyCase {
		name = strings.ToLower(name)
	}
	return strings.Map(func(r rune) rune {
		switch {
		case strings.ContainsRune(f.Without, r):
			return -1
		case strings.ContainsRune(f.Same, r):
			return rune(f.Same[len(f.Same)-1])
		}
		return r
	}, name)
}

// cut gives the first logical line of a text.
func (f Format) cut(text string) string {
	n := 0
	comment := strings.HasPrefix(strings.TrimLeft(text, " \t"), f.Comments[:1])
	for {
		i := strings.IndexByte(text[n:], '\n')
		if i < 0 {
			return text
		}
		line := strings.TrimSuffix(text[n:n+i], "\r")
		n += i + 1
		switch {
		case f.Backslash && !comment && strings.HasSuffix(line, `\`):
		case f.Indent && !comment && n < len(text) && strings.TrimSpace(line) != "" && (text[n] == ' ' || text[n] == '\t') && strings.TrimSpace(first(text[n:])) != "":
		default:
			return text[:n]
		}
	}
}

func first(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

const space = " \t\r\n\v\f"

// understand finds what a line says.
func (f Format) understand(l *Line) {
	raw := strings.TrimRight(l.raw, space)
	start := len(raw) - len(strings.TrimLeft(raw, space))
	body := raw[start:]
	switch {
	case body == "":
		l.Kind = Blank
		return
	case strings.ContainsRune(f.Comments, rune(body[0])):
		l.Kind = Comment
		return
	case f.Orders != "" && strings.ContainsRune(f.Orders, rune(body[0])):
		l.Kind = Order
	case f.Sections && body[0] == '[':
		end := strings.IndexByte(body, ']')
		if end < 0 {
			l.Kind = Other
			return
		}
		l.Kind, l.Name = Section, strings.Trim(body[1:end], space)
		l.name = start + 1 + end - 1 - len(strings.TrimLeft(body[1:end], space))
		return
	default:
		l.Kind = Setting
	}
	stop := space
	if f.Equals {
		stop += "="
	}
	end := strings.IndexAny(body, stop)
	if f.Equals && !f.Space { // names may have spaces in them
		end = strings.IndexByte(body, '=')
	}
	behind := f.remark(raw, start)
	if end < 0 || start+end > behind {
		end = len(strings.TrimRight(raw[start:behind], space))
	}
	l.Name, l.name = strings.TrimRight(body[:end], space), start
	v := start + end
	for v < behind && strings.ContainsRune(space, rune(raw[v])) {
		v++
	}
	if f.Equals && v < behind && raw[v] == '=' {
		v++
		for v < behind && strings.ContainsRune(space, rune(raw[v])) {
			v++
		}
	}
	l.value = v
	l.Value = strings.TrimRight(raw[v:max(v, behind)], space)
	l.after = v + len(l.Value)
	if l.Name == "" {
		l.Kind = Other
		return
	}
	if f.Match && strings.EqualFold(l.Name, "match") {
		l.Kind, l.Name = Section, l.Name+" "+l.Value
	}
}

// remark tells where in a line the remark behind the value begins; its length if there is none.
func (f Format) remark(raw string, from int) int {
	if f.Behind == "" {
		return len(raw)
	}
	var quote byte
	for i := from; i < len(raw); i++ {
		c := raw[i]
		switch {
		case quote != 0:
			if c == '\\' && f.Doubled {
				i++
			} else if c == quote {
				quote = 0
			}
		case strings.IndexByte(f.Quotes, c) >= 0:
			quote = c
		case strings.IndexByte(f.Behind, c) >= 0:
			if i > from && (!f.Spaced || strings.ContainsRune(space, rune(raw[i-1]))) {
				return i
			}
		}
	}
	return len(raw)
}

// Plain takes the quotes off a value.
func (f Format) Plain(value string) string {
	if n := len(value); n >= 2 && strings.IndexByte(f.Quotes, value[0]) >= 0 && value[n-1] == value[0] {
		q := value[:1]
		value = value[1 : n-1]
		if f.Doubled {
			value = strings.ReplaceAll(value, q+q, q)
		}
	}
	return value
}
