package layout

import "strings"

// parseEnvFile reads the lines NAME=value of an EnvironmentFile.
func parseEnvFile(data string) map[string]string {
	env := map[string]string{}
	pending := ""
	for line := range strings.SplitSeq(data, "\n") {
		line = strings.TrimSpace(line)
		if pending == "" && (line == "" || line[0] == '#' || line[0] == ';') {
			continue
		}
		if before, ok := strings.CutSuffix(line, `\`); ok {
			pending += before
			continue
		}
		line = pending + line
		pending = ""
		name, value, ok := strings.Cut(line, "=")
		if name = strings.TrimSpace(name); !ok || !isName(name) {
			continue
		}
		env[name] = removeQuotes(strings.TrimSpace(value))
	}
	return env
}

// removeQuotes removes quotes around parts of a value; unlike in splitWords, blanks
// outside of them stay.
func removeQuotes(value string) string {
	var b strings.Builder
	var quote byte
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case c == '\\' && quote != '\'' && i+1 < len(value):
			i++
			b.WriteByte(value[i])
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == quote:
			quote = 0
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
