package rotationpolicy

import (
	"fmt"
	"strings"
)

// Error is one error of a policy.
type Error struct {
	Field   string // "spec.rules[0].threshold.duration"; empty: the object as a whole
	Message string
}

func (e *Error) Error() string {
	if e.Field == "" {
		return e.Message
	}
	return e.Field + ": " + e.Message
}

// Errors are all errors of a policy.
type Errors []*Error

func (e Errors) Error() string {
	if len(e) == 1 {
		return e[0].Error()
	}
	lines := make([]string, 0, len(e))
	for _, one := range e {
		lines = append(lines, "  "+one.Error())
	}
	return fmt.Sprintf("%d errors\n%s", len(e), strings.Join(lines, "\n"))
}
