//go:build !linux

package store

import (
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// ImmutableAt returns nothing: nodes run Linux.
func ImmutableAt(hostfs.Root, inventory.Store) string { return "" }
