package plugin

import (
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"time"
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
// a failure does no harm: some browsers may not read files. Its token must not be an argument of
// a process, which every user of the machine can read. A page leads to it, which is deleted
// after a while, and by the function that is returned.
func openBrowser(address string) (remove func()) {
	page, err := writeRedirect(address)
	if err != nil {
		return func() {}
	}
	remove = sync.OnceFunc(func() { _ = os.RemoveAll(filepath.Dir(page)) })
	command := []string{"xdg-open", page}
	switch runtime.GOOS {
	case "darwin":
		command = []string{"open", page}
	case "windows":
		command = []string{"rundll32", "url.dll,FileProtocolHandler", page}
	}
	browser := exec.Command(command[0], command[1:]...) //nolint:gosec,noctx // the page is our own, and the browser stays open after the dashboard
	browser.SysProcAttr = apartFromTerminal()
	if browser.Start() != nil {
		remove()
		return remove
	}
	go func() { _ = browser.Wait() }()  // it may run for as long as the browser does
	time.AfterFunc(time.Minute, remove) // the browser has opened it by then
	return remove
}

// writeRedirect writes a page that only the operator can read, and that leads to an address.
func writeRedirect(address string) (string, error) {
	dir, err := os.MkdirTemp("", "rotate-certs-") // mode 0700
	if err != nil {
		return "", err
	}
	target := html.EscapeString(address)
	page := filepath.Join(dir, "dashboard.html")
	text := `<!DOCTYPE html><meta charset="utf-8"><meta name="referrer" content="no-referrer"><title>kubectl rotate-certs dashboard</title>` +
		`<meta http-equiv="refresh" content="0; url=` + target + `"><p><a href="` + target + `">Open the dashboard</a></p>` + "\n"
	if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
		_ = os.RemoveAll(dir)
		return "", err
	}
	return page, nil
}
