package store

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"reflect"
	"strings"
)

// maxCandidates limits the equal values that are tried; each requires parsing the file.
const maxCandidates = 64

// replaceInKubeconfig returns the kubeconfig with a user's certificate and key
// replaced and every other byte as it was: comments, order, indentation, quoting,
// fields that this program does not know. A YAML library would rewrite the file.
func replaceInKubeconfig(data []byte, user string, chainPEM, keyPEM []byte) ([]byte, error) {
	for _, r := range []struct {
		field string
		value []byte
	}{{certField, chainPEM}, {keyField, keyPEM}} {
		var err error
		if data, err = replaceField(data, user, r.field, base64.StdEncoding.EncodeToString(r.value)); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// replaceField replaces one base64 value. If the same value occurs more than once, each place
// is tried, and the one is taken after which the parsed file differs only in that user's field.
func replaceField(data []byte, user, field, value string) ([]byte, error) {
	tree, err := parseTree(data)
	if err != nil {
		return nil, err
	}
	u, err := findUser(tree, user)
	if err != nil {
		return nil, err
	}
	old, err := u.fieldText(field)
	if err != nil {
		return nil, err
	}
	c := compactText(data)
	needle := []byte(strings.Map(dropSpace, old))
	from := 0
	for range maxCandidates {
		i := bytes.Index(c.text[from:], needle)
		if i < 0 || len(needle) == 0 {
			break
		}
		i += from
		from = i + 1
		candidate := c.spliceValue(data, i, i+len(needle), value)
		if onlyFieldChanged(tree, u, candidate, field, value) {
			return candidate, nil
		}
	}
	return nil, fmt.Errorf("%s of user %q cannot be replaced without a change elsewhere; "+
		"write its value in one line at that user, without anchors, aliases or escapes", field, user)
}

// onlyFieldChanged reports whether a candidate is the old tree with that one new value.
func onlyFieldChanged(tree map[string]any, old userEntry, candidate []byte, field, value string) bool {
	newTree, err := parseTree(candidate)
	if err != nil {
		return false
	}
	u, err := findUser(newTree, old.name)
	if err != nil {
		return false
	}
	text, err := u.fieldText(field)
	if err != nil || strings.Map(dropLineEnds, text) != value {
		return false
	}
	u.fields[field] = old.fields[field]
	return reflect.DeepEqual(tree, newTree)
}

// compacted is a text without the characters that YAML or JSON allow inside a base64 value:
// line ends, indentation, and backslashes, as in "\/" or at a line's end. at holds the position
// of each byte in the original.
type compacted struct {
	text []byte
	at   []int
}

func compactText(data []byte) compacted {
	c := compacted{make([]byte, 0, len(data)), make([]int, 0, len(data))}
	for i := 0; i < len(data); i++ {
		switch b := data[i]; b {
		case ' ', '\t', '\r', '\n':
		case '\\':
			if i+1 < len(data) && strings.IndexByte("nrt", data[i+1]) >= 0 {
				i++ // an escaped line end; other escaped characters stand for themselves
			}
		default:
			c.text = append(c.text, b)
			c.at = append(c.at, i)
		}
	}
	return c
}

// spliceValue replaces the compacted bytes from i to j by a value, wrapped into lines as the
// old value was.
func (c compacted) spliceValue(data []byte, i, j int, value string) []byte {
	start := c.at[i]
	end := c.at[j-1] + 1
	width, separator := c.lineWrapping(data, i, j)
	var out bytes.Buffer
	out.Grow(len(data) + 2*len(value))
	out.Write(data[:start])
	for width > 0 && len(value) > width {
		out.WriteString(value[:width])
		out.Write(separator)
		value = value[width:]
	}
	out.WriteString(value)
	out.Write(data[end:])
	return out.Bytes()
}

// lineWrapping returns the length of a value's first line and its separator from the next; 0
// for a value in one line.
func (c compacted) lineWrapping(data []byte, i, j int) (width int, separator []byte) {
	for k := i + 1; k < j; k++ {
		gap := data[c.at[k-1]+1 : c.at[k]]
		if len(gap) > 0 && string(gap) != `\` {
			return k - i, gap
		}
	}
	return 0, nil
}

func dropSpace(r rune) rune {
	if r == ' ' || r == '\t' {
		return -1
	}
	return dropLineEnds(r)
}

// dropLineEnds drops the line ends, which a base64 decoder ignores.
func dropLineEnds(r rune) rune {
	if r == '\r' || r == '\n' {
		return -1
	}
	return r
}
