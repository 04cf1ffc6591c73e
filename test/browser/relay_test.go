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

// Variables that make this program a relay: the address to which it connects, a path for a Unix
// socket, and the address at which it listens; without one, it was given the listener.
const (
	relayTo     = "RELAY_TO"
	relayListen = "RELAY_LISTEN"
)

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

// relayFrom makes a server of this network namespace reachable in that of a cluster, at an address
// there, until the returned closer is closed. A Unix socket with a path belongs to no namespace.
func (l *labs) relayFrom(c *cluster, listen, server, socket string) (io.Closer, error) {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("listen for the relay: %w", err)
	}
	go func() { _ = relayConnections(listener, server) }()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(l.bin, "lab"), "run", "--name", c.lab, "--", self)
	cmd.Env = append(os.Environ(), relayTo+"="+socket, relayListen+"="+listen)
	cmd.Stderr = os.Stderr
	relay, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the relay: %w", err)
	}
	return relay, nil
}

// runRelay passes on connections until the process that started this one has ended.
func runRelay(server, listen string) error {
	listener, err := openRelay(listen)
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = listener.Close()
	}()
	return relayConnections(listener, server)
}

func openRelay(listen string) (net.Listener, error) {
	if listen == "" {
		return net.FileListener(os.NewFile(3, "listener"))
	}
	return net.Listen("tcp", listen)
}

// relayConnections passes on what arrives at a listener until that is closed.
func relayConnections(listener net.Listener, server string) error {
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

// relayConnection connects a client with a server until one of the two closes.
func relayConnection(from net.Conn, server string) {
	defer from.Close()
	network := "tcp"
	if filepath.IsAbs(server) {
		network = "unix"
	}
	to, err := net.Dial(network, server)
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
