package layout

import (
	"strings"
	"unicode/utf8"
)

// splitWords splits a line as systemd does: at blanks, with single and double
// quotes removed and C-style escapes resolved. An unclosed quote ends with the line.
func splitWords(line string) []string {
	var out []string
	for _, w := range lexWords(line) {
		out = append(out, w.text)
	}
	return out
}

// word is one item of a command line before the expansion of variables.
type word struct {
	text   string
	quoted bool // some of it was in quotes, or "\;": "$VAR" is then not split
}

func lexWords(line string) []word {
	var out []word
	var b strings.Builder
	var quote byte
	inWord := false
	quoted := false
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '\\' && i+1 < len(line):
			i++
			b.WriteString(unescapeChar(line[i]))
			inWord = true
			quoted = quoted || line[i] == ';'
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			b.WriteByte(c)
		case c == '"' || c == '\'':
			quote = c
			inWord = true
			quoted = true
		case isBlank(c):
			if inWord {
				out = append(out, word{b.String(), quoted})
				b.Reset()
				inWord = false
				quoted = false
			}
		default:
			b.WriteByte(c)
			inWord = true
		}
	}
	if inWord {
		out = append(out, word{b.String(), quoted})
	}
	return out
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// unescapeChar resolves the character after a backslash; those without a meaning keep
// their backslash.
func unescapeChar(c byte) string {
	switch c {
	case 'n':
		return "\n"
	case 't':
		return "\t"
	case 's':
		return " "
	case '\\', '"', '\'', ' ', ';':
		return string(rune(c))
	default:
		return "\\" + string([]byte{c})
	}
}

// expandUnit replaces variables in the words of an ExecStart line: a word that is
// just $NAME becomes its value's words, ${NAME} its value as it is, $$ a dollar.
// Unknown variables are empty, as systemd has it.
func expandUnit(words []word, env map[string]string) []string {
	var out []string
	for _, w := range words {
		if name, ok := strings.CutPrefix(w.text, "$"); ok && !w.quoted && isName(name) {
			out = append(out, splitWords(env[name])...)
			continue
		}
		out = append(out, expandBraces(w.text, env))
	}
	return out
}

func expandBraces(text string, env map[string]string) string {
	var b strings.Builder
	for text != "" {
		i := strings.IndexByte(text, '$')
		if i < 0 {
			b.WriteString(text)
			break
		}
		b.WriteString(text[:i])
		text = text[i+1:]
		if rest, ok := strings.CutPrefix(text, "$"); ok {
			b.WriteByte('$')
			text = rest
			continue
		}
		if rest, ok := strings.CutPrefix(text, "{"); ok {
			if name, after, closed := strings.Cut(rest, "}"); closed && isName(name) {
				b.WriteString(env[name])
				text = after
				continue
			}
		}
		b.WriteByte('$')
	}
	return b.String()
}

// expandPod replaces $(NAME) in a word of a pod's command as the kubelet does:
// unknown names stay as they are, and $$(NAME) is a literal $(NAME).
func expandPod(text string, env map[string]string) string {
	var b strings.Builder
	for text != "" {
		i := strings.IndexByte(text, '$')
		if i < 0 || i+1 == len(text) {
			b.WriteString(text)
			break
		}
		b.WriteString(text[:i])
		text = text[i:]
		if rest, ok := strings.CutPrefix(text, "$$"); ok {
			b.WriteByte('$')
			text = rest
			continue
		}
		if rest, ok := strings.CutPrefix(text, "$("); ok {
			if name, after, closed := strings.Cut(rest, ")"); closed {
				if value, known := env[name]; known {
					b.WriteString(value)
				} else {
					b.WriteString("$(" + name + ")")
				}
				text = after
				continue
			}
		}
		b.WriteByte('$')
		text = text[1:]
	}
	return b.String()
}

// isName reports whether s is the name of an environment variable.
func isName(s string) bool {
	if s == "" || !utf8.ValidString(s) || s[0] >= '0' && s[0] <= '9' {
		return false
	}
	for _, r := range s {
		if r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') {
			return false
		}
	}
	return true
}
