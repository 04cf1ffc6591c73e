//go:build unix

package plugin

import "syscall"

// apartFromTerminal keeps Ctrl-C from the browser.
func apartFromTerminal() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
