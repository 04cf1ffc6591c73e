package watcher

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"
)

// filePair is a certificate in files, which are read again when they have changed.
type filePair struct {
	cert string
	key  string

	mu      sync.Mutex
	current *tls.Certificate
	changed time.Time // of the certificate's file
}

// getCertificate returns the newest pair. While the files cannot be read, as in the moment in which
// they are replaced, it is the last one.
func (p *filePair) getCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	info, err := os.Stat(p.cert)
	if err == nil && p.current != nil && info.ModTime().Equal(p.changed) {
		return p.current, nil
	}
	pair, loadErr := tls.LoadX509KeyPair(p.cert, p.key)
	switch {
	case err == nil && loadErr == nil:
		p.current = &pair
		p.changed = info.ModTime()
	case p.current == nil && err == nil:
		return nil, fmt.Errorf("read certificate %q: %w", p.cert, loadErr)
	case p.current == nil:
		return nil, fmt.Errorf("read certificate %q: %w", p.cert, err)
	}
	return p.current, nil
}
