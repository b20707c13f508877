package modalias

// Glob tells whether s matches a pattern of modules.alias: '*' any text, '?' any character, '[a-f]' one of a set, '[!a-f]' none
// of it, '\' takes the next character literally. There are no errors: a broken set matches its '[' literally. It runs in time
// proportional to len(pattern)·len(s) at worst.
func Glob(pattern, s string) bool {
	p, i := 0, 0
	star, mark := -1, 0 // where to go on after the last '*'
	for i < len(s) {
		if p < len(pattern) {
			if pattern[p] == '*' {
				star, mark = p, i
				p++
				continue
			}
			if n, ok := one(pattern[p:], s[i]); ok {
				p += n
				i++
				continue
			}
		}
		if star < 0 {
			return false
		}
		mark++
		p, i = star+1, mark
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// one matches a single character against the first element of p and returns that element's length.
func one(p string, c byte) (int, bool) {
	switch p[0] {
	case '?':
		return 1, true
	case '\\':
		if len(p) > 1 {
			return 2, p[1] == c
		}
	case '[':
		if n, ok := set(p, c); n > 0 {
			return n, ok
		}
	}
	return 1, p[0] == c
}

// set matches c against the set at the start of p. Its length is 0 when the set is not closed.
func set(p string, c byte) (int, bool) {
	i, not, in := 1, false, false
	if i < len(p) && (p[i] == '!' || p[i] == '^') {
		not = true
		i++
	}
	for first := true; i < len(p); first = false {
		if p[i] == ']' && !first {
			return i + 1, in != not
		}
		lo, hi := p[i], p[i]
		i++
		if i+1 < len(p) && p[i] == '-' && p[i+1] != ']' {
			hi = p[i+1]
			i += 2
		}
		if lo <= c && c <= hi {
			in = true
		}
	}
	return 0, false
}
