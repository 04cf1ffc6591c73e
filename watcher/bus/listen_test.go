package bus

import (
	"crypto/x509"
	"log/slog"
	"os"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
)

// TestUsersOfTheListenerAreReadAgain: who is taken out is disconnected, and stays out.
func TestUsersOfTheListenerAreReadAgain(t *testing.T) {
	s := newSite(t)
	log := make(said, 1000)
	c := testConfig(t, func(c *Config) {
		c.Log = slog.New(log)
		c.Listen = &Listen{Address: "127.0.0.1:0", Users: writeFile(t, s.dir, "users", []byte("incident-responder ann secret-of-ann\n"))}
		c.Listen.TLS = TLS{Cert: s.dir + "/tls.crt", Key: s.dir + "/tls.key"}
	})
	b := openReady(t, c)
	dial := func(user string, options ...nats.Option) (*nats.Conn, error) {
		return nats.Connect("tls://"+b.embedded.server.Addr().String(),
			append(options, nats.UserInfo(user, "secret-of-"+user), nats.RootCAs(s.dir+"/ca.crt"), nats.NoReconnect())...)
	}
	closed := make(chan struct{})
	_, err := dial("ann", nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	require.NoError(t, err)

	replaceFile(t, s.dir, "users", "incident-responder ann\n")
	log.until(t, "invalid file of users of the NATS listener", 1)
	again, err := dial("ann")
	require.NoError(t, err, "the last good ones stay")
	again.Close()

	replaceFile(t, s.dir, "users", "viewer bob secret-of-bob\n")
	receive(t, closed)
	_, err = dial("ann")
	require.ErrorIs(t, err, nats.ErrAuthorization)
	bob, err := dial("bob")
	require.NoError(t, err)
	bob.Close()
	require.NoError(t, b.Publish(request("auto-1")), "this process is a user as before")
	flushed(t, b)
	require.Len(t, replayed(t, b), 1)
}

// TestAWrongFileOfUsersAtTheStart is waited for: rotations do not need the listener.
func TestAWrongFileOfUsersAtTheStart(t *testing.T) {
	s := newSite(t)
	c := testConfig(t, func(c *Config) {
		c.Listen = &Listen{Address: "127.0.0.1:0", Users: writeFile(t, s.dir, "users", []byte("incident-responder ann\n"))}
		c.Listen.TLS = TLS{Cert: s.dir + "/tls.crt", Key: s.dir + "/tls.key"}
	})
	b, err := Open(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(b.Close)
	require.ErrorContains(t, b.Ready(), "users of the NATS listener from")
	replaceFile(t, s.dir, "users", "incident-responder ann secret-of-ann\n")
	waitReady(t, b)
}

// TestTheCAOfTheListenerIsReadAgain, for connections from then on.
func TestTheCAOfTheListenerIsReadAgain(t *testing.T) {
	s := newSite(t)
	first, second := certstest.NewCA(t, "first"), certstest.NewCA(t, "second")
	c := testConfig(t, func(c *Config) {
		c.Listen = &Listen{Address: "127.0.0.1:0", Users: writeFile(t, s.dir, "users", []byte("incident-responder ann secret-of-ann\n"))}
		c.Listen.TLS = TLS{CA: writeFile(t, s.dir, "clients.crt", first.Pair().CertPEM()), Cert: s.dir + "/tls.crt", Key: s.dir + "/tls.key"}
	})
	b := openReady(t, c)
	dial := func(ca certstest.CA) error {
		pair := ca.Leaf(t, certstest.Name("ann"), certstest.Usages(x509.ExtKeyUsageClientAuth))
		nc, err := nats.Connect("tls://"+b.embedded.server.Addr().String(), nats.UserInfo("ann", "secret-of-ann"), nats.RootCAs(s.dir+"/ca.crt"),
			nats.ClientCert(writeFile(t, s.dir, "ann.crt", pair.CertPEM()), writeFile(t, s.dir, "ann.key", pair.KeyPEM(t))))
		if err == nil {
			nc.Close()
		}
		return err
	}
	require.NoError(t, dial(first))
	require.Error(t, dial(second))
	replaceFile(t, s.dir, "clients.crt", string(second.Pair().CertPEM()))
	require.NoError(t, dial(second))
	require.Error(t, dial(first))
}

// replaceFile replaces a file as a whole, as a mounted Secret's are.
func replaceFile(t *testing.T, dir, name, content string) {
	t.Helper()
	require.NoError(t, os.Rename(writeFile(t, dir, name+"~", []byte(content)), dir+"/"+name))
}
