package bus

import (
	"context"
	"log/slog"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// signer is who signs the claims of those below: an operator, an account.
type signer struct {
	nkeys.KeyPair
	public string
}

func newSigner(t *testing.T, create func() (nkeys.KeyPair, error)) signer {
	t.Helper()
	key, err := create()
	require.NoError(t, err)
	public, err := key.PublicKey()
	require.NoError(t, err)
	return signer{key, public}
}

// TestCredentialsFiles: a server whose users are not in its configuration but show what
// their account has signed, with the permissions that the document has.
func TestCredentialsFiles(t *testing.T) {
	operator, system, account := newSigner(t, nkeys.CreateOperator), newSigner(t, nkeys.CreateAccount), newSigner(t, nkeys.CreateAccount)
	resolver := &server.MemAccResolver{}
	for _, a := range []signer{system, account} {
		claims := jwt.NewAccountClaims(a.public)
		if a == account {
			claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
		}
		signed, err := claims.Encode(operator)
		require.NoError(t, err)
		require.NoError(t, resolver.Store(a.public, signed))
	}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(), MaxPayload: maxPayload,
		TrustedKeys: []string{operator.public}, SystemAccount: system.public, AccountResolver: resolver,
	})
	require.NoError(t, err)
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	require.True(t, s.ReadyForConnections(soon))

	dir := t.TempDir()
	file := func(role string) string {
		user := newSigner(t, nkeys.CreateUser)
		claims, may := jwt.NewUserClaims(user.public), permissionsOf(role, "prod")
		claims.Pub.Allow, claims.Sub.Allow = may.Publish.Allow, may.Subscribe.Allow
		token, err := claims.Encode(account)
		require.NoError(t, err)
		seed, err := user.Seed()
		require.NoError(t, err)
		creds, err := jwt.FormatUserConfig(token, seed)
		require.NoError(t, err)
		return writeFile(t, dir, role+".creds", creds)
	}
	log := make(said, 1000)
	b := openReady(t, testConfig(t, func(c *Config) {
		c.StoreDir, c.URLs, c.Log = "", []string{s.ClientURL()}, slog.New(log)
		c.Credentials, c.RotatorCredentials = file(roleReporter), file(roleRotator)
	}))
	require.NoError(t, b.Publish(request("auto-1")))
	got := make(chan event.Event, 1)
	background(t, b.ReceiveRequests, func(_ context.Context, e event.Event) error { got <- e; return nil })
	require.Equal(t, request("auto-1"), receive(t, got).Data)

	file(roleReporter) // another user
	log.until(t, "connected to NATS with new credentials", 1)
	waitReady(t, b)
	require.NoError(t, b.Publish(request("auto-2")))
	require.Equal(t, request("auto-2"), receive(t, got).Data)
	require.Zero(t, b.Stats().Refused)
}
