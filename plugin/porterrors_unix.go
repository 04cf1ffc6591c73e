//go:build unix

package plugin

import "syscall"

// Errors of listening at a port.
const (
	errPortUsed   = syscall.EADDRINUSE
	errPortDenied = syscall.EACCES
)
