package statedir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// graceOfStart is how long FollowJournal waits for a process that does not run: it may be
// starting.
var graceOfStart = 3 * time.Second

// FollowJournal calls emit with every record after a sequence number, as they are written,
// until no process works on this rotation any more and every record was emitted. It works
// before, during and after a rotation, and changes nothing.
func FollowJournal(ctx context.Context, root hostfs.Root, id string, after int64, emit func(nodeapi.Record) error) error {
	d, err := dirAt(root)
	if err != nil {
		return err
	}
	r, err := d.rotationOf(id)
	if err != nil {
		return err
	}
	tail := &tail{rotation: r, after: after}
	defer tail.closeFile()
	w := watchDirs(r.path)
	defer func() { w.close() }()
	var alone time.Duration
	for {
		// Checked before reading, so that the last records of the process are not missed.
		holder, held, err := CurrentHolder(root)
		if err != nil {
			return err
		}
		if err := tail.emitNew(emit); err != nil {
			return err
		}
		working := held && (holder.Rotation == id || holder.Rotation == "")
		switch {
		case working:
			alone = 0
		case alone >= graceOfStart:
			return tail.checkFound()
		}
		begun := time.Now()
		if err := w.waitChange(ctx); err != nil {
			return err
		}
		if !working {
			alone += time.Since(begun)
		}
		if w.notify == nil { // the directory may exist now
			w = watchDirs(r.path)
		}
	}
}

// tail reads a journal as it grows.
type tail struct {
	rotation *Rotation
	after    int64
	f        *os.File
	offset   int64
}

// emitNew passes on the new complete lines.
func (t *tail) emitNew(emit func(nodeapi.Record) error) error {
	if t.f == nil {
		f, err := os.Open(t.rotation.journalPath())
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read journal of rotation %q: %w", t.rotation.ID, err)
		}
		t.f = f
	}
	data, err := io.ReadAll(io.NewSectionReader(t.f, t.offset, maxJournal))
	if err != nil {
		return fmt.Errorf("read journal of rotation %q: %w", t.rotation.ID, err)
	}
	records, size, err := parseLines(t.rotation.ID, data)
	if err != nil {
		return err
	}
	t.offset += size
	for _, rec := range records {
		if rec.Seq <= t.after {
			continue
		}
		if err := emit(rec); err != nil {
			return err
		}
		t.after = rec.Seq
	}
	return nil
}

// checkFound returns an error if there never was such a rotation.
func (t *tail) checkFound() error {
	if t.f == nil {
		return hint.AddTo(fmt.Errorf("rotation %q is not known on this node", t.rotation.ID), "see %q", filepath.Join(HostPath, "rotations"))
	}
	return nil
}

func (t *tail) closeFile() {
	if t.f != nil {
		_ = t.f.Close()
	}
}
