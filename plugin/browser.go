package plugin

import (
	"os"
	"os/exec"
	"runtime"
)

// hasDisplay reports whether a browser that is opened can be seen by the operator.
func hasDisplay() bool {
	if os.Getenv("SSH_CONNECTION") != "" {
		return false
	}
	switch runtime.GOOS {
	case "darwin", "windows":
		return true
	}
	return os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != ""
}

// openBrowser opens an address in the operator's browser. The address is printed, too, so that
// a failure does no harm.
func openBrowser(address string) {
	command := []string{"xdg-open", address}
	switch runtime.GOOS {
	case "darwin":
		command = []string{"open", address}
	case "windows":
		command = []string{"rundll32", "url.dll,FileProtocolHandler", address}
	}
	browser := exec.Command(command[0], command[1:]...) //nolint:gosec,noctx // the address is our own, and the browser stays open after the dashboard
	browser.SysProcAttr = apartFromTerminal()
	if browser.Start() == nil {
		go func() { _ = browser.Wait() }() // it may run for as long as the browser does
	}
}
