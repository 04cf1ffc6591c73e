package bus

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

const (
	storeName    = "nats"         // below StoreDir, which may be a mount and cannot be deleted
	internalUser = "rotate-certs" // this process, where others are users too
	// maxPayload lets one request name every certificate of a large cluster.
	maxPayload = 8 << 20
)

// embedded is the NATS server in this process. Rotations do not depend on it: a server that
// cannot start is reported by [Bus.Ready] and tried again.
type embedded struct {
	store    string // directory
	config   *Config
	password string // of internalUser, where the server has users
	log      *slog.Logger

	mu     sync.Mutex
	locked *os.File // while it is open, no other process uses the store
	server *server.Server
	users  [sha256.Size]byte // of the file of users that was read last
	closed bool
	// failure is why the server does not run; nil: it runs. It is read without mu, which is
	// held for long where a volume hangs.
	failure atomic.Pointer[error]
}

// startEmbedded starts the server. A server that cannot start now (its disk is full, its file
// of users is invalid) is no error: [Bus.retryStart] tries again. An error means that another
// process uses the store.
func startEmbedded(c *Config) (*embedded, error) {
	e := &embedded{store: filepath.Join(c.StoreDir, storeName), config: c, log: c.Log.With("nats", "embedded")}
	if c.Listen != nil {
		e.password = rand.Text()
	}
	if err := e.startOnce(); errors.Is(err, errInUse) {
		return nil, err
	}
	return e, nil
}

// startOnce starts the server, unless it runs or the bus is closed.
func (e *embedded) startOnce() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || e.server != nil {
		return nil
	}
	err := e.startLocked()
	if err == nil {
		e.failure.Store(nil)
		return nil
	}
	err = hint.AddTo(fmt.Errorf("start embedded NATS server with store %q: %w", e.store, err),
		"check that --store can be written and has room; delete a damaged store: events, and CompromisedCertificates published to NATS that were not read yet, are lost")
	if before := e.failure.Load(); before == nil || (*before).Error() != err.Error() {
		e.log.Error("the embedded NATS server does not start, trying again; rotations start without it", "error", err)
	}
	e.failure.Store(&err)
	return err
}

// startFailure is why the server does not run; nil: it runs, or there is none in this process.
func (e *embedded) startFailure() error {
	if e == nil {
		return nil
	}
	if failure := e.failure.Load(); failure != nil {
		return *failure
	}
	return nil
}

// retryStart tries until the server runs.
func (b *Bus) retryStart() {
	for wait.SleepFor(b.ctx, b.config.tuning.watch) == nil {
		if b.embedded.startOnce() == nil {
			b.ready.requestCheck()
			return
		}
	}
}

// InProcessConn connects to the server that runs now.
func (e *embedded) InProcessConn() (net.Conn, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.server == nil {
		return nil, errors.New("the embedded NATS server does not run")
	}
	return e.server.InProcessConn()
}

// startLocked starts the server; the caller holds e.mu.
func (e *embedded) startLocked() error {
	if err := e.lockStore(); err != nil {
		return err
	}
	if err := os.MkdirAll(e.store, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(e.store, 0o700); err != nil {
		return err
	}
	options, err := e.serverOptions()
	if err != nil {
		return err
	}
	s, err := server.NewServer(options)
	if err != nil {
		return err
	}
	if err := e.awaitStart(s); err != nil {
		s.Shutdown()
		s.WaitForShutdown()
		return err
	}
	e.server = s
	return nil
}

// awaitStart starts a server and waits until it accepts connections. A damaged store may make
// the server panic, which must not end the watcher.
func (e *embedded) awaitStart(s *server.Server) error {
	logger := &serverLog{log: e.log}
	s.SetLoggerV2(logger, false, false, false)
	started := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				started <- fmt.Errorf("panic: %v", p)
			}
		}()
		s.Start()
		started <- nil
	}()
	select {
	case err := <-started:
		if err != nil {
			return err
		}
	case <-time.After(2 * time.Minute):
		return errors.New("not started within 2m0s")
	}
	if err := logger.fatalError(); err != nil {
		return err
	}
	if !s.ReadyForConnections(10 * time.Second) {
		return errors.New("not ready for connections")
	}
	return nil
}

func (e *embedded) serverOptions() (*server.Options, error) {
	o := &server.Options{
		ServerName: "rotate-certs-watcher", DontListen: true, NoSigs: true, NoSystemAccount: false,
		DisableJetStreamBanner: true, MaxPayload: maxPayload,
		JetStream: true, StoreDir: e.store, SyncAlways: true,
		JetStreamMaxMemory: 16 << 20, JetStreamMaxStore: 2 * (eventMaxBytes + compromisedMaxBytes),
	}
	if e.config.Listen == nil {
		return o, nil
	}
	return o, e.addListener(o)
}

// shutDown ends the server, and lets other processes use the store.
func (e *embedded) shutDown() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	if e.server != nil {
		e.server.Shutdown()
		e.server.WaitForShutdown()
		e.server = nil
	}
	if e.locked == nil {
		return
	}
	if err := e.locked.Close(); err != nil {
		e.log.Warn("unlock the store of the embedded NATS server", "error", err)
	}
}
