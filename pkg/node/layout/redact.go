package layout

import (
	"net/url"
	"slices"
	"strings"
)

// redacted replaces a value that could be a secret.
const redacted = "(redacted)"

// redactArgs returns a command line that may be shown: values of flags that could be
// secrets, and passwords inside URLs, are replaced. Paths of files that hold
// secrets stay, since a path is not one.
func redactArgs(args arguments) []string {
	out := make([]string, 0, len(args))
	hideNext := false
	for _, arg := range args {
		name, value, joined, isFlag := splitFlag(arg)
		switch {
		case hideNext && !isFlag && !isHarmless(arg):
			out = append(out, redacted)
		case isFlag && joined && secretFlag(name) && !isHarmless(value):
			out = append(out, arg[:len(arg)-len(value)]+redacted)
		case isFlag && joined:
			out = append(out, arg[:len(arg)-len(value)]+withoutPasswords(value))
		default:
			out = append(out, withoutPasswords(arg))
		}
		hideNext = isFlag && !joined && secretFlag(name)
	}
	return out
}

// secretFlag reports whether a flag's value could be a secret itself, rather than the path of
// one or a number.
func secretFlag(name string) bool {
	name = strings.ToLower(name)
	endings := []string{"file", "dir", "path", "ttl", "url", "expiration"}
	words := []string{"token", "password", "passwd", "secret", "credential", "apikey", "api-key"}
	return !slices.ContainsFunc(endings, func(ending string) bool { return strings.HasSuffix(name, ending) }) &&
		slices.ContainsFunc(words, func(word string) bool { return strings.Contains(name, word) })
}

// isHarmless reports whether a value is a switch or empty, e.g. of
// --enable-bootstrap-token-auth.
func isHarmless(value string) bool { return value == "" || value == "true" || value == "false" }

// withoutPasswords drops the user part of URLs in a comma-separated value.
func withoutPasswords(value string) string {
	if !strings.Contains(value, "://") || !strings.Contains(value, "@") {
		return value
	}
	parts := strings.Split(value, ",")
	for i, part := range parts {
		u, err := url.Parse(part)
		switch {
		case err != nil:
			parts[i] = redacted
		case u.User != nil:
			u.User = url.User("redacted")
			parts[i] = u.String()
		}
	}
	return strings.Join(parts, ",")
}
