package browser

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
)

// relayTo is the variable that makes this program a relay: its value is the address of an API server.
const relayTo = "RELAY_TO"

// startRelay makes the API server of another lab reachable at a port of this network namespace. A
// socket stays in the namespace in which it was opened: the listener is opened here, and the
// process that accepts its connections runs in the namespace of the other lab.
func (l *labs) startRelay(c *cluster) error {
	name, address, err := hostOf(c.server)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for the relay: %w", err)
	}
	defer listener.Close()
	file, err := listener.(*net.TCPListener).File()
	if err != nil {
		return fmt.Errorf("hand the listener over to the relay: %w", err)
	}
	defer file.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(l.bin, "lab"), "run", "--name", c.lab, "--", self)
	cmd.Env = append(os.Environ(), relayTo+"="+address)
	cmd.ExtraFiles = []*os.File{file}
	cmd.Stderr = os.Stderr
	if l.relay, err = cmd.StdinPipe(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the relay: %w", err)
	}
	c.server = "https://" + listener.Addr().String()
	c.name = name
	return nil
}

// relayConnections passes on what arrives at the listener that this process was started with, until
// the process that started it has ended.
func relayConnections(server string) error {
	listener, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = listener.Close()
	}()
	for {
		from, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go relayConnection(from, server)
	}
}

// relayConnection connects a client with the API server until one of the two closes.
func relayConnection(from net.Conn, server string) {
	defer from.Close()
	to, err := net.Dial("tcp", server)
	if err != nil {
		return // the client sees a closed connection
	}
	defer to.Close()
	go func() {
		_, _ = io.Copy(to, from)
		_ = to.Close()
	}()
	_, _ = io.Copy(from, to)
}
