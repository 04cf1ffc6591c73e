package rotate

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// log writes the records of one order: into the journal, durably, and then to Engine.Records.
// It may be used by several goroutines.
type log struct {
	mu     sync.Mutex
	writer *statedir.Writer
	out    io.Writer
	token  int64
	order  int64
	// orderID is the sender's name for the order.
	orderID string
	// lenient is set during a rollback, which must continue when nothing can be recorded any
	// more. The first error is kept.
	lenient bool
	failed  error
	last    nodeapi.Record
}

// journalError is a failure to record. Nothing may be done that is not recorded, so it stops
// the process; the next process rolls back the incomplete commit.
type journalError struct{ err error }

func (e *journalError) Error() string { return e.err.Error() }
func (e *journalError) Unwrap() error { return e.err }

// write appends a record to the journal, before an effect or after it. Its error is a
// *journalError.
func (l *log) write(rec nodeapi.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	rec.Token = l.token
	rec.Order = l.order
	rec.OrderID = l.orderID
	rec, err := l.writer.AppendRecord(rec)
	if err != nil {
		err = &journalError{err}
		if !l.lenient {
			return err
		}
		if l.failed == nil {
			l.failed = err
		}
	}
	l.last = rec
	if l.out != nil {
		// The reader has closed the stream if this fails. The journal has the record.
		if line, err := json.Marshal(rec); err == nil {
			_, _ = l.out.Write(append(line, '\n'))
		}
	}
	return nil
}

// failure is the reason for a rollback: the verification that failed, and the last lines of the
// component's log.
type failure struct {
	service certs.Service // empty: of no single component
	what    string        // "etcd did not become healthy within 60s on its new certificate"
	why     string        // the last lines of the component's log
	cause   error
}

func (f *failure) Error() string {
	text := f.what
	if f.cause != nil {
		text += ": " + f.cause.Error()
	}
	return text
}

func (f *failure) Unwrap() error { return f.cause }

// causeText returns the cause and the component's last log lines.
func (f *failure) causeText() string {
	switch {
	case f.cause == nil:
		return f.why
	case f.why == "":
		return f.cause.Error()
	default:
		return fmt.Sprintf("%v; last log lines: %s", f.cause, f.why)
	}
}
