package plugin

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// lineWaiter passes the first line that is written to it.
type lineWaiter struct {
	lockedBuffer
	first chan string
}

func (w *lineWaiter) Write(p []byte) (int, error) {
	n, err := w.lockedBuffer.Write(p)
	select {
	case w.first <- string(p):
	default:
	}
	return n, err
}

// TestDashboardServesUntilCtrlC: to the browser that has the token, and to no other.
func TestDashboardServesUntilCtrlC(t *testing.T) {
	t.Setenv("KUBECONFIG", "testdata/kubeconfig")
	out := &lineWaiter{first: make(chan string, 1)}
	var errOut lockedBuffer
	f := healthy()
	a := f.app(genericiooptions.IOStreams{In: strings.NewReader(""), Out: out, ErrOut: &errOut})
	signals := make(chan os.Signal)
	code := make(chan int, 1)
	go func() { code <- a.runUntilSignal([]string{"dashboard", "--no-open"}, signals) }()
	line := <-out.first
	address, _, _ := strings.Cut(strings.TrimPrefix(line, "Dashboard: "), " ")
	require.True(t, strings.HasPrefix(address, "http://127.0.0.1:"), line)
	assert.Contains(t, line, "its token signs one browser in; Ctrl-C ends the dashboard")
	base, _, _ := strings.Cut(address, "/open")
	for url, status := range map[string]int{base + "/": http.StatusForbidden, address + "x": http.StatusForbidden} {
		response, err := http.Get(url) //nolint:gosec,noctx // the address is this test's
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		assert.GreaterOrEqual(t, response.StatusCode, 400, "%s: want %d", url, status)
	}
	signals <- os.Interrupt
	assert.Zero(t, <-code, errOut.String())
	assert.Equal(t, "stopping; press Ctrl-C again to stop at once\n", errOut.String())
	assert.Empty(t, f.log, "no cluster was asked")
}

func TestDashboardCannotBeServed(t *testing.T) {
	used, err := net.Listen("tcp4", "127.0.0.1:0") //nolint:noctx // closed below
	require.NoError(t, err)
	t.Cleanup(func() { _ = used.Close() })
	port := strconv.Itoa(used.Addr().(*net.TCPAddr).Port)
	for args, says := range map[string]string{
		"--port " + port:         "error: listen at port " + port + ": another program uses it\nhint: --port with another number",
		"--port 70000":           "error: invalid --port 70000\nhint: want 1 to 65535",
		"--context x":            "error: the kubeconfig has no context \"x\"\nhint: its contexts are night-shift, nowhere",
		"--kubeconfig /no/such":  "error: ",
		"production --read-only": `error: unexpected argument "production"`,
	} {
		code, stdout, stderr := healthy().run(t, append([]string{"dashboard", "--no-open"}, strings.Fields(args)...)...)
		assert.Equal(t, 1, code, stderr)
		assert.Contains(t, stderr, says)
		assert.Empty(t, stdout)
	}
}

func TestBrowserIsOpenedWhereItIsSeen(t *testing.T) {
	for _, name := range []string{"DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION"} {
		t.Setenv(name, "")
	}
	t.Setenv("DISPLAY", ":0")
	assert.True(t, hasDisplay())
	t.Setenv("SSH_CONNECTION", "10.0.0.1 1 10.0.0.2 22")
	assert.False(t, hasDisplay(), "it would open on another machine")
}

// TestBrowserGetsTheAddress: a program in its place writes what it was called with.
func TestBrowserGetsTheAddress(t *testing.T) {
	dir := t.TempDir()
	called := dir + "/called"
	require.NoError(t, os.WriteFile(dir+"/xdg-open", []byte("#!/bin/sh\nprintf '%s\\n' \"$*\" >"+called+".new && mv "+called+".new "+called+"\n"), 0o755))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	remove := openBrowser("http://127.0.0.1:1/open?token=x&y")
	var arguments string
	require.Eventually(t, func() bool {
		text, err := os.ReadFile(called)
		arguments = string(text)
		return err == nil
	}, 10*time.Second, time.Millisecond)
	page := strings.TrimSpace(arguments)
	assert.NotContains(t, arguments, "token", "every user can read arguments")
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	assert.Contains(t, string(text), `content="0; url=http://127.0.0.1:1/open?token=x&amp;y"`)
	for path, mode := range map[string]os.FileMode{page: 0o600, filepath.Dir(page): 0o700} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.Equal(t, mode, info.Mode().Perm(), path)
	}
	remove()
	assert.NoDirExists(t, filepath.Dir(page))
	t.Setenv("PATH", dir+"/empty")
	openBrowser("http://127.0.0.1:1/") // there is no such program: the address was printed
	left, err := os.ReadDir(temporary)
	require.NoError(t, err)
	assert.Empty(t, left)
}
