package bus

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// userOf reads a file of credentials. It returns the options of a connection, and the hash of
// the file.
func userOf(file string) (options []nats.Option, used [sha256.Size]byte, err error) {
	if file == "" {
		return nil, used, nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, used, fmt.Errorf("read NATS credentials: %w", err)
	}
	used = sha256.Sum256(raw)
	if strings.Contains(string(raw), "BEGIN NATS USER JWT") {
		return []nats.Option{nats.UserCredentialBytes(raw)}, used, nil
	}
	key, err := nkeys.ParseDecoratedNKey(raw)
	if err != nil {
		return nil, used, fmt.Errorf("read NATS credentials %q: neither a .creds file nor an NKey seed: %w", file, err)
	}
	public, err := key.PublicKey()
	if err != nil || !nkeys.IsValidPublicUserKey(public) {
		return nil, used, fmt.Errorf("read NATS credentials %q: the NKey seed is not that of a user", file)
	}
	return []nats.Option{nats.Nkey(public, key.Sign)}, used, nil
}

// followCredentials reconnects when the file of credentials changes: a connection presents the
// public key that it was made with. While the server does not accept the new user, the old
// connection is kept.
func (b *Bus) followCredentials(l *link) {
	logged := l.used
	for wait.SleepFor(b.ctx, b.config.tuning.watch) == nil {
		_, now, err := userOf(l.credentials)
		if err == nil && now == l.used {
			logged = now
			continue
		}
		if err == nil {
			err = l.dialServer()
		}
		switch {
		case err == nil:
			l.log.Info("connected to NATS with new credentials", "file", l.credentials)
		case logged != now:
			l.log.Warn("new credentials for NATS are not used yet, trying again", "file", l.credentials, "error", err)
		}
		logged = now
	}
}

// tlsOf are the TLS options for an external server. The files are read now, to report errors
// at once, and again at every connect.
func tlsOf(files TLS) ([]nats.Option, error) {
	readCert := func() (tls.Certificate, error) { return tls.LoadX509KeyPair(files.Cert, files.Key) }
	readCA := func() (*x509.CertPool, error) { return readPool(files.CA) }
	var certCB nats.TLSCertHandler
	var caCB nats.RootCAsHandler
	if files.Cert != "" {
		if _, err := readCert(); err != nil {
			return nil, fmt.Errorf("read NATS client certificate %q: %w", files.Cert, err)
		}
		certCB = readCert
	}
	if files.CA != "" {
		if _, err := readCA(); err != nil {
			return nil, err
		}
		caCB = readCA
	}
	if certCB == nil && caCB == nil {
		return nil, nil
	}
	return []nats.Option{nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12}), nats.ClientTLSConfig(certCB, caCB)}, nil
}

func readPool(path string) (*x509.CertPool, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read CA of NATS: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("read CA of NATS: %q has no certificate in PEM", path)
	}
	return pool, nil
}
