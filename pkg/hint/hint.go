// Package hint keeps an error and its hint apart. The error names the failure and its cause; the
// hint is the next step of the operator. The text of an error never holds its hint: a program that
// prints the error prints the hint on the next line, and a log has it in a field of its own.
package hint

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// mark begins the line of a hint.
const mark = "hint: "

// hintedError is an error with a hint.
type hintedError struct {
	err  error
	hint string
}

func (e *hintedError) Error() string { return e.err.Error() }

func (e *hintedError) Unwrap() error { return e.err }

// Hint returns the next step.
func (e *hintedError) Hint() string { return e.hint }

// AddTo returns the error with a hint, whose text is formatted as by [fmt.Sprintf].
func AddTo(err error, format string, args ...any) error {
	return &hintedError{err: err, hint: fmt.Sprintf(format, args...)}
}

// AllOf returns the hints of an error and of those that it wraps, the innermost first and each
// once. The hint of an error is the result of its method Hint; an empty one counts as none.
func AllOf(err error) []string {
	var all []string
	switch wrapping := err.(type) { //nolint:errorlint // each error of the tree is visited
	case interface{ Unwrap() error }:
		all = AllOf(wrapping.Unwrap())
	case interface{ Unwrap() []error }:
		for _, wrapped := range wrapping.Unwrap() {
			for _, text := range AllOf(wrapped) {
				all = appendNew(all, text)
			}
		}
	}
	if hinted, ok := err.(interface{ Hint() string }); ok { //nolint:errorlint // each error of the tree is visited
		all = appendNew(all, hinted.Hint())
	}
	return all
}

func appendNew(all []string, text string) []string {
	if text == "" || slices.Contains(all, text) {
		return all
	}
	return append(all, text)
}

// TextOf returns an error as programs print it: its text, and below it each hint on a line. Joined
// errors are printed one after the other, each with its own hints.
func TextOf(err error) string {
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // a joined error wrapped by another one is part of a sentence
		var plain, full []string
		for _, one := range joined.Unwrap() {
			plain = append(plain, one.Error())
			full = append(full, TextOf(one))
		}
		if strings.Join(plain, "\n") == err.Error() {
			return strings.Join(full, "\n")
		}
	}
	lines := []string{err.Error()}
	for _, text := range AllOf(err) {
		lines = append(lines, mark+text)
	}
	return strings.Join(lines, "\n")
}

// FromText is the opposite of TextOf: the error of a text, with the hints of its last lines.
func FromText(text string) error {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	end := len(lines)
	for end > 1 && strings.HasPrefix(strings.TrimSpace(lines[end-1]), mark) {
		end--
	}
	err := errors.New(strings.TrimSpace(strings.Join(lines[:end], "\n")))
	for _, line := range lines[end:] {
		err = AddTo(err, "%s", strings.TrimPrefix(strings.TrimSpace(line), mark))
	}
	return err
}

// LastError returns the error that another program has printed last: the last line of its output,
// with the hints below that line.
func LastError(output string) error {
	printed := FromText(output)
	text := printed.Error()
	err := errors.New(strings.TrimSpace(text[strings.LastIndexByte(text, '\n')+1:]))
	for _, next := range AllOf(printed) {
		err = AddTo(err, "%s", next)
	}
	return err
}
