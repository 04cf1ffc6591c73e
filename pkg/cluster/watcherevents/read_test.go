package watcherevents

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestSeenForgetsTheOldest(t *testing.T) {
	s := NewSeen()
	for i := range remembered + 10 {
		assert.True(t, s.AddID(fmt.Sprint(i)))
	}
	assert.Len(t, s.ids, remembered)
	assert.False(t, s.AddID(fmt.Sprint(remembered)))
	assert.True(t, s.AddID("0"))
}

// TestReadingEndsWithItsContext, also where the watcher sends nothing.
func TestReadingEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	from, to := io.Pipe()
	ended := make(chan error, 1)
	read := make(chan string)
	go func() {
		ended <- ReadEvents(ctx, true, func(ctx context.Context) (io.ReadCloser, error) {
			context.AfterFunc(ctx, func() { _ = to.CloseWithError(ctx.Err()) })
			return from, nil
		}, func(e Event) error { read <- string(e.Raw); return nil })
	}()
	fmt.Fprintf(to, "\n{\"id\":\"1\"}\n")
	assert.Equal(t, `{"id":"1"}`, <-read)
	cancel()
	assert.NoError(t, <-ended)
}

func TestReadingEndsWithAnError(t *testing.T) {
	refused := errors.New("enough")
	answer := func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("{\"id\":\"1\"}\nnonsense\n")), nil
	}
	assert.ErrorIs(t, ReadEvents(t.Context(), true, answer, func(Event) error { return refused }), refused)
	assert.ErrorContains(t, ReadEvents(t.Context(), true, answer, func(Event) error { return nil }), `not an event: "nonsense"`)
}
