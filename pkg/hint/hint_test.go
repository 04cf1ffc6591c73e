package hint

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/assert"
)

// fullError has a hint of its own.
type fullError struct{}

func (*fullError) Error() string { return "the disk is full" }

func (*fullError) Hint() string { return "delete files" }

func TestTextOf(t *testing.T) {
	missing := AddTo(fmt.Errorf("read %q: %w", "ca.crt", fs.ErrNotExist), "copy it from %s", "cp1")
	for name, test := range map[string]struct {
		err  error
		text string
		want string
	}{
		"without a hint": {fs.ErrNotExist, "file does not exist", "file does not exist"},
		"with one":       {missing, `read "ca.crt": file does not exist`, "read \"ca.crt\": file does not exist\nhint: copy it from cp1"},
		"below text that was added": {fmt.Errorf("start: %w; nothing was changed", missing), `start: read "ca.crt": file does not exist; nothing was changed`,
			"start: read \"ca.crt\": file does not exist; nothing was changed\nhint: copy it from cp1"},
		"an empty one":          {AddTo(fs.ErrNotExist, ""), "file does not exist", "file does not exist"},
		"of the error's method": {fmt.Errorf("write: %w", &fullError{}), "write: the disk is full", "write: the disk is full\nhint: delete files"},
		"the innermost first":   {AddTo(&fullError{}, "run it again"), "the disk is full", "the disk is full\nhint: delete files\nhint: run it again"},
		"of joined errors": {errors.Join(&fullError{}, missing), "the disk is full\nread \"ca.crt\": file does not exist",
			"the disk is full\nhint: delete files\nread \"ca.crt\": file does not exist\nhint: copy it from cp1"},
		"of several errors in a sentence, each once": {fmt.Errorf("start: %w; %w; %w", &fullError{}, missing, &fullError{}), `start: the disk is full; read "ca.crt": file does not exist; the disk is full`,
			"start: the disk is full; read \"ca.crt\": file does not exist; the disk is full\nhint: delete files\nhint: copy it from cp1"},
	} {
		t.Run(name, func(t *testing.T) {
			assert.EqualError(t, test.err, test.text)
			assert.Equal(t, test.want, TextOf(test.err))
		})
	}
	assert.ErrorIs(t, missing, fs.ErrNotExist)
}

func TestFromTextIsTheOppositeOfTextOf(t *testing.T) {
	err := AddTo(AddTo(errors.New("cp1: stopped\n  why: unknown"), "see its log"), "run it again")
	same := FromText(TextOf(err))
	assert.EqualError(t, same, "cp1: stopped\n  why: unknown")
	assert.Equal(t, []string{"see its log", "run it again"}, AllOf(same))
}

func TestLastErrorIsTheOneThatWasPrinted(t *testing.T) {
	for output, want := range map[string]struct {
		text  string
		hints []string
	}{
		"": {"", nil},
		"warning: slow\nerror: the disk is full\n":                                 {"error: the disk is full", nil},
		"error: the disk is full\nhint: delete files\n":                            {"error: the disk is full", []string{"delete files"}},
		"error: the disk is full\r\n hint: delete files\r\nhint: run it again\r\n": {"error: the disk is full", []string{"delete files", "run it again"}},
		"hint: delete files": {"hint: delete files", nil},
	} {
		err := LastError(output)
		assert.EqualError(t, err, want.text, output)
		assert.Equal(t, want.hints, AllOf(err), output)
	}
}
