package statedir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// maxJournal limits the bytes that are read of a journal. A rotation writes at most a few
// hundred lines of some kilobytes.
const maxJournal = 32 << 20

// Writer appends to a rotation's journal. After an error it appends nothing more: the next
// effect would have no record.
type Writer struct {
	rotation, node string
	now            func() time.Time
	f              *os.File
	size, seq      int64
	failed         error
}

// OpenWriter opens the journal to append to it. An incomplete last line, left by a crash during
// a write, is removed: the effect that it announces was not begun.
func (r *Rotation) OpenWriter(node string, now func() time.Time) (*Writer, error) {
	if now == nil {
		now = time.Now
	}
	records, size, err := r.readLines()
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(r.journalPath(), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open journal of rotation %q: %w", r.ID, err)
	}
	err = f.Truncate(size)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = SyncDir(filepath.Dir(r.journalPath()))
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("open journal of rotation %q: %w", r.ID, err)
	}
	w := &Writer{rotation: r.ID, node: node, now: now, f: f, size: size}
	if len(records) > 0 {
		w.seq = records[len(records)-1].Seq
	}
	return w, nil
}

// AppendRecord writes a record durably: when it returns nil, the record survives a power cut.
// It fills in sequence, time, rotation and node, and returns the whole record.
func (w *Writer) AppendRecord(rec nodeapi.Record) (nodeapi.Record, error) {
	if w.failed != nil {
		return rec, w.failed
	}
	rec.Seq = w.seq + 1
	rec.Time = w.now().UTC()
	rec.Rotation = w.rotation
	rec.Node = w.node
	line, err := json.Marshal(rec)
	if err == nil {
		line = append(line, '\n')
		_, err = w.f.WriteAt(line, w.size)
	}
	if err == nil {
		err = w.f.Sync()
	}
	if err != nil {
		w.failed = fmt.Errorf("write journal of rotation %q: %w", w.rotation, err)
		return rec, w.failed
	}
	w.size += int64(len(line))
	w.seq++
	return rec, nil
}

// Close closes the journal.
func (w *Writer) Close() error { return w.f.Close() }

// ReadRecords returns the records of the journal; none if there is no journal. An incomplete
// last line is left out, any other damage is an error.
func (r *Rotation) ReadRecords() ([]nodeapi.Record, error) {
	records, _, err := r.readLines()
	return records, err
}

// readLines also returns the number of bytes in complete lines.
func (r *Rotation) readLines() ([]nodeapi.Record, int64, error) {
	f, err := os.Open(r.journalPath())
	if errors.Is(err, os.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, &DamagedError{r.ID, fmt.Errorf("read: %w", err)}
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxJournal+1))
	if err == nil && len(data) > maxJournal {
		err = fmt.Errorf("larger than %d bytes", maxJournal)
	}
	if err != nil {
		return nil, 0, &DamagedError{r.ID, fmt.Errorf("read: %w", err)}
	}
	return parseLines(r.ID, data)
}

// DamagedError means that a rotation's journal cannot be read.
type DamagedError struct {
	Rotation string
	Err      error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("journal of rotation %q is damaged: %v", e.Rotation, e.Err)
}

func (e *DamagedError) Unwrap() error { return e.Err }

// SalvageRecords returns the readable records of a damaged journal.
func (r *Rotation) SalvageRecords() []nodeapi.Record {
	f, err := os.Open(r.journalPath())
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	data, _ := io.ReadAll(io.LimitReader(f, maxJournal)) // the readable ones
	var records []nodeapi.Record
	for line := range bytes.Lines(data) {
		if whole, _, err := parseLines(r.ID, line); err == nil {
			records = append(records, whole...)
		}
	}
	return records
}

// parseLines reads complete lines; bytes after the last newline are an incomplete line.
func parseLines(rotation string, data []byte) ([]nodeapi.Record, int64, error) {
	var records []nodeapi.Record
	var size int64
	for len(data) > 0 {
		end := bytes.IndexByte(data, '\n')
		if end < 0 {
			break
		}
		var rec nodeapi.Record
		if err := json.Unmarshal(data[:end], &rec); err != nil {
			return nil, 0, &DamagedError{rotation, fmt.Errorf("line %d: %w", len(records)+1, err)}
		}
		records = append(records, rec)
		size += int64(end) + 1
		data = data[end+1:]
	}
	return records, size, nil
}
