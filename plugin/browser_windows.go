package plugin

import "syscall"

// apartFromTerminal keeps Ctrl-C from the browser.
func apartFromTerminal() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
