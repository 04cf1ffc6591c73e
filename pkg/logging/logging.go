// Package logging makes the loggers of the programs that run all the time.
package logging

import (
	"fmt"
	"io"
	"log/slog"
)

// New returns a logger that writes to w as text or json, from a least level on: debug, info,
// warn or error. An error names the flag that is wrong, --log-format or --log-level.
func New(w io.Writer, format, level string) (*slog.Logger, error) {
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %q: want debug, info, warn or error", level)
	}
	options := &slog.HandlerOptions{Level: least}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, fmt.Errorf("--log-format %q: want text or json", format)
}
