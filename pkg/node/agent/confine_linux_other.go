//go:build linux && !amd64

package agent

// Newer architectures have no older forms of system calls.
var (
	neverHere []uint32
	openHere  map[uint32]uint32
)
