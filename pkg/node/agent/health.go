package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

const (
	// healthSize is that of a health file. It is overwritten in place, through a file that
	// was opened before the agent gave up opening files for writing.
	healthSize = 1024
	// scansMissed is after how many intervals without a scan an agent counts as stuck.
	scansMissed = 3
)

// Health stores the health of an agent in a file that the probes of its pod read. A nil Health
// stores nothing.
type Health struct {
	file *os.File

	mu  sync.Mutex
	now health
}

// health is the content of the file, as JSON.
type health struct {
	AliveUntil time.Time `json:"aliveUntil"` // by then another scan should have ended
	Reported   bool      `json:"reported"`   // the last attempt to write a report succeeded
	Problem    string    `json:"problem"`    // why not
}

// OpenHealth creates a health file. The agent is alive then, for the time that a first scan may
// take, and not ready.
func OpenHealth(path string, interval time.Duration) (*Health, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create health file: %w", err)
	}
	h := &Health{file: file}
	err = h.changeFile(func(now *health) {
		now.AliveUntil = time.Now().Add(scansMissed * interval)
		now.Problem = "no report has been written yet"
	})
	return h, err
}

// noteScan notes that a scan has ended.
func (h *Health) noteScan(at time.Time, interval time.Duration) error {
	return h.changeFile(func(now *health) { now.AliveUntil = at.Add(scansMissed * interval) })
}

// noteReport notes whether a report was written.
func (h *Health) noteReport(err error) error {
	return h.changeFile(func(now *health) {
		now.Reported = err == nil
		now.Problem = ""
		if err != nil {
			now.Problem = "report not written: " + limitText(hint.TextOf(err))
		}
	})
}

func (h *Health) changeFile(change func(*health)) error {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	change(&h.now)
	data, err := json.Marshal(h.now)
	if err == nil && len(data) > healthSize { // a text full of characters that JSON escapes
		short := h.now
		short.Problem = "report not written"
		data, err = json.Marshal(short)
	}
	if err != nil {
		return fmt.Errorf("encode health: %w", err)
	}
	if _, err := h.file.WriteAt(append(data, bytes.Repeat([]byte(" "), healthSize-len(data))...), 0); err != nil {
		return fmt.Errorf("write health file: %w", err)
	}
	return nil
}

// CheckAlive returns an error if the agent of a health file has not scanned its node for a
// while.
func CheckAlive(path string, now time.Time) error {
	h, err := readHealth(path)
	if err == nil && now.After(h.AliveUntil) {
		err = fmt.Errorf("the last scan should have ended by %s", h.AliveUntil.UTC().Format(time.RFC3339))
	}
	return err
}

// CheckReady returns an error if the agent of a health file is not alive, or has not written
// its last report.
func CheckReady(path string, now time.Time) error {
	h, err := readHealth(path)
	if err == nil && !h.Reported {
		err = errors.New(h.Problem)
	}
	if err != nil {
		return err
	}
	return CheckAlive(path, now)
}

func readHealth(path string) (h health, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return h, fmt.Errorf("read health file: %w", err)
	}
	if err := json.Unmarshal(data, &h); err != nil {
		return h, fmt.Errorf("read health file %q: %w", path, err)
	}
	return h, nil
}
