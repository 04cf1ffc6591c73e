package policyfile

import (
	"fmt"
	"strings"
)

// Error is one thing that is wrong in a file.
type Error struct {
	Line, Column int    // from 1; 0: not known
	Field        string // "rules[0].threshold.duration"; empty: the file as a whole
	Message      string
}

func (e *Error) Error() string {
	var where []string
	if e.Line > 0 {
		where = append(where, fmt.Sprintf("line %d, column %d", e.Line, e.Column))
	}
	if e.Field != "" {
		where = append(where, e.Field)
	}
	return strings.Join(append(where, e.Message), ": ")
}

// Errors is everything that is wrong in a file, in its order.
type Errors []*Error

func (e Errors) Error() string {
	if len(e) == 1 {
		return "policy: " + e[0].Error()
	}
	lines := make([]string, 0, len(e))
	for _, one := range e {
		lines = append(lines, "  "+one.Error())
	}
	return fmt.Sprintf("policy: %d errors\n%s", len(e), strings.Join(lines, "\n"))
}
