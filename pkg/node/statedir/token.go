package statedir

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rotate-certs/rotate-certs/pkg/node/store"
)

// Fence is the highest fencing token that a node has accepted, with its rotation. An order with
// a lower token comes from a sender that lost the cluster's lock without noticing.
type Fence struct {
	Token    int64  `json:"token"`
	Rotation string `json:"rotation"`
}

// FencedError means that an order is older than one that this node carried out.
type FencedError struct {
	Token int64
	Fence Fence
}

func (e *FencedError) Error() string {
	return fmt.Sprintf("order with fencing token %d refused: this node has accepted token %d of rotation %q",
		e.Token, e.Fence.Token, e.Fence.Rotation)
}

// ReadFence returns the highest token accepted so far; zero on a new node.
func (d *Dir) ReadFence() (Fence, error) {
	var f Fence
	data, err := os.ReadFile(d.tokenPath())
	if errors.Is(err, os.ErrNotExist) {
		return f, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &f)
	}
	if err != nil {
		return f, fmt.Errorf("read fencing token: %w", err)
	}
	return f, nil
}

// PassToken accepts an order's token and stores it durably, or fails with a [*FencedError]. Two
// rotations cannot have the same token.
func (d *Dir) PassToken(token int64, rotation string) error {
	f, err := d.ReadFence()
	if err != nil {
		return err
	}
	if token < f.Token || (token == f.Token && f.Rotation != "" && rotation != f.Rotation) {
		return &FencedError{Token: token, Fence: f}
	}
	if token == f.Token && rotation == f.Rotation {
		return nil
	}
	data, err := json.Marshal(Fence{Token: token, Rotation: rotation})
	if err != nil {
		return err
	}
	if err := store.WriteFile(d.tokenPath(), append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write fencing token: %w", err)
	}
	return nil
}

func (d *Dir) tokenPath() string { return filepath.Join(d.path, "token") }
