package plugin

import "golang.org/x/sys/windows"

// Errors of listening at a port, as Winsock numbers them: syscall.EADDRINUSE is never returned on
// Windows.
const (
	errPortUsed   = windows.WSAEADDRINUSE
	errPortDenied = windows.WSAEACCES
)
