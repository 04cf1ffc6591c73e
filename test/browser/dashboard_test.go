package browser

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// dashboard is the program.
type dashboard struct {
	address string // that it printed
	process *exec.Cmd
	ended   chan struct{} // closed at the end

	mu   sync.Mutex
	text strings.Builder
}

// startDashboard starts the program, which ends with the test.
func startDashboard(t *testing.T, kubeconfig string, args ...string) *dashboard {
	t.Helper()
	d := &dashboard{ended: make(chan struct{})}
	all := append([]string{"dashboard", "--no-open", "--kubeconfig", kubeconfig}, args...)
	d.process = exec.Command(filepath.Join(here.bin, "kubectl-rotate_certs"), all...)
	d.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, err := d.process.StdoutPipe()
	require.NoError(t, err)
	d.process.Stderr = d
	require.NoError(t, d.process.Start())
	printed := make(chan string, 1)
	go func() {
		d.readOutput(out, printed)
		_ = d.process.Wait() // interrupted, as a rule
		close(d.ended)
	}()
	t.Cleanup(func() { d.stop(t) })
	select {
	case d.address = <-printed:
	case <-time.After(time.Minute):
		require.Fail(t, "the dashboard prints no address", d.output())
	}
	require.NotEmpty(t, d.address, "%s", d.output())
	return d
}

var printedAddress = regexp.MustCompile(`http://127\.0\.0\.1:\d+/\S+`)

// readOutput keeps what the program prints, and sends the address in it.
func (d *dashboard) readOutput(from io.Reader, address chan<- string) {
	defer close(address)
	for lines := bufio.NewScanner(from); lines.Scan(); {
		_, _ = d.Write([]byte(lines.Text() + "\n"))
		if found := printedAddress.FindString(lines.Text()); found != "" {
			address <- found
		}
	}
}

// Write keeps what the program prints.
func (d *dashboard) Write(text []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text.Write(text)
}

func (d *dashboard) output() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text.String()
}

// stop ends the program as Ctrl-C does, with every rotation that is still in progress.
func (d *dashboard) stop(t *testing.T) {
	_ = d.process.Process.Signal(os.Interrupt)
	select {
	case <-d.ended:
	case <-time.After(2 * time.Minute):
		_ = d.process.Process.Kill()
		assert.Fail(t, "the dashboard does not end", d.output())
	}
}

// silentServer is an API server that accepts connections and answers nothing.
func silentServer(t *testing.T) *cluster {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	return &cluster{server: "https://" + listener.Addr().String(), authority: here.first.authority, user: here.first.user}
}
