// Package logging makes the loggers of the programs that run all the time.
package logging

import (
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

// New returns a logger that writes to w as text or json, from a least level on: debug, info,
// warn or error. The hint of a logged error is a field of its own, "hint". An error of New names
// the flag that is wrong, --log-format or --log-level.
func New(w io.Writer, format, level string) (*slog.Logger, error) {
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %q: want debug, info, warn or error", level)
	}
	options := &slog.HandlerOptions{Level: least, ReplaceAttr: separateHint}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, fmt.Errorf("--log-format %q: want text or json", format)
}

// separateHint makes two fields of an error with a hint.
func separateHint(_ []string, field slog.Attr) slog.Attr {
	err, ok := field.Value.Any().(error)
	if !ok {
		return field
	}
	hints := hint.AllOf(err)
	if len(hints) == 0 {
		return field
	}
	return slog.Attr{Value: slog.GroupValue(slog.String(field.Key, err.Error()), slog.String("hint", strings.Join(hints, "; ")))}
}
