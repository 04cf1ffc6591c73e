package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// serverLog gives the server's own words to slog; what it calls fatal ends nothing here.
type serverLog struct {
	log  *slog.Logger
	mu   sync.Mutex
	died string
}

func (l *serverLog) say(level slog.Level, format string, v []any) string {
	text := strings.TrimSpace(fmt.Sprintf(format, v...))
	l.log.Log(context.Background(), level, text)
	return text
}

// fatal is what the server died of. JetStream that does not start means its store.
func (l *serverLog) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch why, jetStream := strings.CutPrefix(l.died, "Can't start JetStream: "); {
	case jetStream:
		return &damageError{why}
	case l.died != "":
		return errors.New(why)
	}
	return nil
}

func (l *serverLog) Fatalf(format string, v ...any) {
	text := l.say(slog.LevelError, format, v)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.died = text
}

func (l *serverLog) Noticef(format string, v ...any) { l.say(slog.LevelDebug, format, v) }
func (l *serverLog) Warnf(format string, v ...any)   { l.say(slog.LevelWarn, format, v) }
func (l *serverLog) Errorf(format string, v ...any)  { l.say(slog.LevelError, format, v) }
func (l *serverLog) Debugf(format string, v ...any)  { l.say(slog.LevelDebug, format, v) }
func (l *serverLog) Tracef(format string, v ...any)  { l.say(slog.LevelDebug, format, v) }
