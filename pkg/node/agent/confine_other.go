//go:build !linux

package agent

import "errors"

// Confine is for Linux, where agents run; elsewhere it is an error.
func Confine() error { return errors.New("confine process: only possible on Linux") }
