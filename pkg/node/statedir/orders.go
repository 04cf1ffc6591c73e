package statedir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rotate-certs/rotate-certs/pkg/node/store"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// Order is an order in the inbox.
type Order struct {
	Number int64 // 1, 2, 3, … in the order of arrival
	nodeapi.Order
}

// PutOrder puts an order into the inbox durably and returns its number. An order with the ID of
// an earlier one is not put again, so a sender that lost the connection before the answer may
// deliver it again. Orders without an id are the same if all else is equal.
func (r *Rotation) PutOrder(o nodeapi.Order) (int64, error) {
	if err := checkOrder(r.ID, o); err != nil {
		return 0, err
	}
	data, err := json.Marshal(o)
	if err != nil {
		return 0, fmt.Errorf("encode order: %w", err)
	}
	unlock, err := r.lockInbox()
	if err != nil {
		return 0, fmt.Errorf("put order into the inbox: %w", err)
	}
	defer unlock()
	files, err := r.listInbox()
	if err != nil {
		return 0, err
	}
	number := int64(1)
	for _, f := range files {
		number = max(number, f.number+1)
		there, err := f.isRepeat(o.ID, data)
		if err != nil {
			return 0, err
		}
		if there {
			return f.number, nil
		}
	}
	name := fmt.Sprintf("%06d-%s.json", number, o.Kind)
	if err := store.WriteFile(filepath.Join(r.ordersDir(), name), data, 0o600); err != nil {
		return 0, fmt.Errorf("put order into the inbox: %w", err)
	}
	return number, nil
}

// OrdersAfter returns the orders after a number, in the order of arrival.
func (r *Rotation) OrdersAfter(after int64) ([]Order, error) {
	files, err := r.listInbox()
	if err != nil {
		return nil, err
	}
	var out []Order
	for _, f := range files {
		if f.number <= after {
			continue
		}
		data, err := os.ReadFile(f.path)
		if err != nil {
			return nil, fmt.Errorf("read order %d: %w", f.number, err)
		}
		o := Order{Number: f.number}
		if err := json.Unmarshal(data, &o.Order); err != nil {
			return nil, fmt.Errorf("read order %d: %w", f.number, err)
		}
		out = append(out, o)
	}
	return out, nil
}

// DropUnanswered voids the orders that no process has answered, where none works on the rotation:
// their sender waits no longer, and the next process would carry them out before its own. Their
// numbers stay taken, since records may name them. An order to commit stays, and the next process
// answers it with Refused.
func (r *Rotation) DropUnanswered() error {
	records, err := r.ReadRecords()
	if err != nil {
		return err
	}
	var done int64
	for _, rec := range records {
		if rec.Kind.IsAnswer() {
			done = max(done, rec.Order)
		}
	}
	orders, err := r.OrdersAfter(done)
	if err != nil {
		return err
	}
	files, err := r.listInbox()
	if err != nil {
		return err
	}
	for _, o := range orders {
		at := slices.IndexFunc(files, func(f orderFile) bool { return f.number == o.Number })
		if o.Kind == nodeapi.OrderCommit || at < 0 {
			continue
		}
		void, err := json.Marshal(nodeapi.Order{Kind: nodeapi.OrderKeepAlive, Rotation: r.ID}) // nothing is done for it
		if err == nil {
			err = store.WriteFile(files[at].path, append(void, '\n'), 0o600)
		}
		if err != nil {
			return fmt.Errorf("void order %d of rotation %q: %w", o.Number, r.ID, err)
		}
	}
	return nil
}

// checkOrder refuses orders that no version of the plugin would send.
func checkOrder(rotation string, o nodeapi.Order) error {
	switch o.Kind {
	case nodeapi.OrderStage:
		if o.Step == nil {
			return errors.New("order Stage without a step")
		}
	case nodeapi.OrderIssued:
		if o.Issued == nil {
			return errors.New("order Issued without a certificate")
		}
	case nodeapi.OrderCommit, nodeapi.OrderFinish, nodeapi.OrderAbandon, nodeapi.OrderKeepAlive:
	default:
		return fmt.Errorf("unknown order %q", o.Kind)
	}
	if o.Rotation != rotation {
		return fmt.Errorf("order of rotation %q in the inbox of rotation %q", o.Rotation, rotation)
	}
	return nil
}

type orderFile struct {
	number int64
	path   string
}

// isRepeat reports whether the file holds the order with this ID or, without an ID, with this
// content.
func (f orderFile) isRepeat(id string, data []byte) (bool, error) {
	old, err := os.ReadFile(f.path)
	if err != nil {
		return false, fmt.Errorf("read order %d: %w", f.number, err)
	}
	if id == "" {
		return bytes.Equal(old, data), nil
	}
	var o nodeapi.Order
	if err := json.Unmarshal(old, &o); err != nil {
		return false, fmt.Errorf("read order %d: %w", f.number, err)
	}
	return o.ID == id, nil
}

// listInbox lists the order files by number; other names are skipped.
func (r *Rotation) listInbox() ([]orderFile, error) {
	entries, err := os.ReadDir(r.ordersDir())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read inbox of rotation %q: %w", r.ID, err)
	}
	var out []orderFile
	for _, e := range entries {
		base, isJSON := strings.CutSuffix(e.Name(), ".json")
		digits, _, _ := strings.Cut(base, "-")
		number, err := strconv.ParseInt(digits, 10, 64)
		if !isJSON || err != nil {
			continue
		}
		out = append(out, orderFile{number, filepath.Join(r.ordersDir(), e.Name())})
	}
	slices.SortFunc(out, func(a, b orderFile) int { return int(a.number - b.number) })
	return out, nil
}

// lockInbox prevents two deliveries from taking the same number.
func (r *Rotation) lockInbox() (func(), error) {
	f, err := os.OpenFile(filepath.Join(r.ordersDir(), ".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLKW, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		_ = f.Close()
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}
