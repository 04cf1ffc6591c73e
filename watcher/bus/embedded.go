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
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	storeName    = "nats"         // below StoreDir, which may be a mount and cannot be renamed
	asideInfix   = ".set-aside-"  // what a damaged store is called, with the time
	internalUser = "rotate-certs" // this process, where others are users too
	// maxPayload lets one request name every certificate of a large cluster.
	maxPayload = 8 << 20
)

// embedded is the NATS server in this process. It takes the place of a server that cannot go
// on: the next connection is made to whatever runs then.
type embedded struct {
	dir      string // the store
	config   *Config
	password string // of internalUser, where the server has users
	log      *slog.Logger

	mu     sync.Mutex
	unlock func() error // lets others use the directory; nil: it is not locked
	server *server.Server
	users  [sha256.Size]byte // of the file of users that was read last
	ended  bool
	// why it does not run; nil: it does. It is read while mu is held for long: a volume may hang.
	why atomic.Pointer[error]
}

// startEmbedded starts the server. One that cannot run now (its disk is full, its file of users
// is wrong) is no error: rotations do not depend on it, and [Bus.restartServer] tries again. An
// error means that another process uses the store.
func startEmbedded(c *Config) (*embedded, error) {
	e := &embedded{dir: filepath.Join(c.StoreDir, storeName), config: c, log: c.Log.With("nats", "embedded")}
	if c.Listen != nil {
		e.password = rand.Text()
	}
	if err := e.restart(); errors.Is(err, errInUse) {
		return nil, err
	}
	return e, nil
}

// restart starts the server, where none runs, on the store that is there. A store that cannot be
// used is set aside, and a new one begins: nothing is lost with it but the story, since objects
// carry the state and what is due is told again.
func (e *embedded) restart() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended || e.server != nil {
		return nil
	}
	err := e.start()
	if damage, ok := errors.AsType[*damageError](err); ok {
		err = e.replace(damage)
	}
	if err == nil {
		e.why.Store(nil)
		return nil
	}
	err = fmt.Errorf("start embedded NATS server with store %q: %w\nhint: give --store a directory that can be written, on a disk with room", e.dir, err)
	if before := e.why.Load(); before == nil || (*before).Error() != err.Error() {
		e.log.Error("the embedded NATS server does not start, trying again; rotations start without it", "error", err)
	}
	e.why.Store(&err)
	return err
}

// stopped says why the server does not run; nil: it does, or there is none in this process.
func (e *embedded) stopped() error {
	if e == nil {
		return nil
	}
	if why := e.why.Load(); why != nil {
		return *why
	}
	return nil
}

// damageError says that the store cannot be used as it is.
type damageError struct{ why string }

func (e *damageError) Error() string { return e.why }

// InProcessConn connects to the server that runs now.
func (e *embedded) InProcessConn() (net.Conn, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.server == nil {
		return nil, errors.New("the embedded NATS server does not run")
	}
	return e.server.InProcessConn()
}

// start runs a server on the store; e.mu is held.
func (e *embedded) start() error {
	if err := e.lock(); err != nil {
		return err
	}
	if err := e.makeStore(); err != nil {
		return err
	}
	options, err := e.options()
	if err != nil {
		return err
	}
	s, err := server.NewServer(options)
	if err != nil {
		return err
	}
	logger := &serverLog{log: e.log}
	s.SetLoggerV2(logger, false, false, false)
	started := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				started <- &damageError{fmt.Sprintf("the server panics on it: %v", p)}
			}
		}()
		s.Start()
		started <- nil
	}()
	select {
	case err = <-started:
	case <-time.After(2 * time.Minute):
		err = errors.New("not started within two minutes")
	}
	if err == nil {
		err = logger.fatal()
	}
	if err == nil && !s.ReadyForConnections(10*time.Second) {
		err = errors.New("not ready for connections")
	}
	if err == nil {
		err = e.recovered(s)
	}
	if err != nil {
		s.Shutdown()
		s.WaitForShutdown()
		return err
	}
	e.server = s
	return nil
}

func (e *embedded) makeStore() error {
	if info, err := os.Lstat(e.dir); err == nil && !info.IsDir() {
		return &damageError{"it is no directory"}
	}
	if err := os.MkdirAll(e.dir, 0o700); err != nil {
		return err
	}
	return os.Chmod(e.dir, 0o700)
}

func (e *embedded) options() (*server.Options, error) {
	o := &server.Options{
		ServerName: "rotate-certs-watcher", DontListen: true, NoSigs: true, NoSystemAccount: false,
		DisableJetStreamBanner: true, MaxPayload: maxPayload,
		JetStream: true, StoreDir: e.dir, SyncAlways: true,
		JetStreamMaxMemory: 16 << 20, JetStreamMaxStore: 2 * (eventMaxBytes + markMaxBytes),
	}
	if e.config.Listen == nil {
		return o, nil
	}
	return o, e.listen(o)
}

// recovered checks that every stream on disk is one that the server has: it leaves out,
// with no more than a warning, what it cannot read.
func (e *embedded) recovered(s *server.Server) error {
	found, err := s.Jsz(&server.JSzOptions{Accounts: true, Streams: true})
	if err != nil {
		return err
	}
	var known []string
	for _, account := range found.AccountDetails {
		for _, stream := range account.Streams {
			known = append(known, stream.Name)
		}
	}
	dirs, err := filepath.Glob(filepath.Join(e.dir, "jetstream", "*", "streams", "*"))
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if name := filepath.Base(dir); !slices.Contains(known, name) {
			return &damageError{fmt.Sprintf("its stream %q cannot be read", name)}
		}
	}
	return nil
}

// replace sets the store aside and starts on a new one; e.mu is held.
func (e *embedded) replace(damage error) error {
	if e.server != nil {
		e.server.Shutdown()
		e.server.WaitForShutdown()
		e.server = nil
	}
	old, _ := filepath.Glob(e.dir + asideInfix + "*") // the pattern is well-formed
	for _, dir := range old {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	aside := e.dir + asideInfix + e.config.Now().UTC().Format("20060102T150405Z")
	err := os.Rename(e.dir, aside)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	e.log.Error("the store of the embedded NATS server cannot be used; a new one begins. Rotations that are due are requested again; lost are the events that it kept, and marks that others had published and that were not read yet: they are in setAside",
		"store", e.dir, "why", damage, "setAside", aside)
	return e.start()
}

// gone says that the store is not where it was. A server does not notice that by itself:
// it writes on into files that no name leads to.
func (e *embedded) gone(stream string) error {
	metas, err := filepath.Glob(filepath.Join(e.dir, "jetstream", "*", "streams", stream, "meta.inf"))
	if err == nil && len(metas) == 0 {
		return &damageError{fmt.Sprintf("its stream %q is not on the disk any more", stream)}
	}
	return nil
}

func (e *embedded) shutdown() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended = true
	if e.server != nil {
		e.server.Shutdown()
		e.server.WaitForShutdown()
		e.server = nil
	}
	if e.unlock == nil {
		return
	}
	if err := e.unlock(); err != nil {
		e.log.Warn("unlock the directory of the store", "error", err)
	}
}
