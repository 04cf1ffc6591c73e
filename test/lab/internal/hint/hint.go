// Package hint keeps an error and its hint apart: what failed, and what to do next.
package hint

import "fmt"

// hintedError is an error with a hint.
type hintedError struct {
	error
	hint string
}

func (e *hintedError) Unwrap() error { return e.error }

// AddTo returns the error with a hint, whose text is formatted as by [fmt.Sprintf].
func AddTo(err error, format string, args ...any) error {
	return &hintedError{err, fmt.Sprintf(format, args...)}
}

// TextOf returns an error as the program prints it: its text, and below it the hint of each error
// that it wraps, the innermost first.
func TextOf(err error) string { return err.Error() + linesOf(err) }

func linesOf(err error) string {
	lines := ""
	switch wrapping := err.(type) { //nolint:errorlint // each error of the tree is visited
	case interface{ Unwrap() error }:
		lines = linesOf(wrapping.Unwrap())
	case interface{ Unwrap() []error }:
		for _, wrapped := range wrapping.Unwrap() {
			lines += linesOf(wrapped)
		}
	}
	if hinted, ok := err.(*hintedError); ok { //nolint:errorlint // as above
		lines += "\nhint: " + hinted.hint
	}
	return lines
}
