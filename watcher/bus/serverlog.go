package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// serverLog passes the server's log lines to slog. A fatal one does not end this process.
type serverLog struct {
	log   *slog.Logger
	mu    sync.Mutex
	fatal string
}

func (l *serverLog) writeText(level slog.Level, format string, values []any) string {
	text := strings.TrimSpace(fmt.Sprintf(format, values...))
	l.log.Log(context.Background(), level, "NATS server", "message", text)
	return text
}

// fatalError is the last fatal line: the server has not started.
func (l *serverLog) fatalError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatal == "" {
		return nil
	}
	return errors.New(l.fatal)
}

func (l *serverLog) Fatalf(format string, v ...any) {
	text := l.writeText(slog.LevelError, format, v)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fatal = text
}

func (l *serverLog) Noticef(format string, v ...any) { l.writeText(slog.LevelDebug, format, v) }
func (l *serverLog) Warnf(format string, v ...any)   { l.writeText(slog.LevelWarn, format, v) }
func (l *serverLog) Errorf(format string, v ...any)  { l.writeText(slog.LevelError, format, v) }
func (l *serverLog) Debugf(format string, v ...any)  { l.writeText(slog.LevelDebug, format, v) }
func (l *serverLog) Tracef(format string, v ...any)  { l.writeText(slog.LevelDebug, format, v) }
