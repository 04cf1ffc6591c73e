package bus

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// addListener adds the TLS listener and its users to the options of the server.
func (e *embedded) addListener(o *server.Options) error {
	l := e.config.Listen
	host, port, err := net.SplitHostPort(l.Address)
	if err == nil {
		o.Port, err = strconv.Atoi(port)
	}
	if err != nil {
		return hint.AddTo(fmt.Errorf("listen for NATS on %q: %w", l.Address, err), "--nats-listen HOST:PORT")
	}
	if o.Host = host; host == "" {
		o.Host = "0.0.0.0"
	}
	o.Port = cmp.Or(o.Port, server.RANDOM_PORT)
	if _, err := tls.LoadX509KeyPair(l.TLS.Cert, l.TLS.Key); err != nil {
		return fmt.Errorf("read certificate %q of the NATS listener: %w", l.TLS.Cert, err)
	}
	o.DontListen = false
	o.TLS = true
	o.TLSTimeout = 5
	if o.TLSConfig, err = l.tlsConfig(); err != nil {
		return err
	}
	o.TLSVerify = l.TLS.CA != ""
	raw, err := os.ReadFile(l.Users)
	if err != nil {
		return fmt.Errorf("read users of the NATS listener: %w", err)
	}
	e.users = sha256.Sum256(raw)
	if o.Users, o.Nkeys, err = parseUsers(string(raw), e.config.Cluster); err != nil {
		return fmt.Errorf("read users of the NATS listener from %q: %w", l.Users, err)
	}
	o.Users = append(o.Users, &server.User{Username: internalUser, Password: e.password})
	return nil
}

// tlsConfig reads the files again for every handshake.
func (l *Listen) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(l.TLS.Cert, l.TLS.Key)
			return &pair, err
		},
		SessionTicketsDisabled: true, // a session would outlive its CA
	}
	if l.TLS.CA == "" {
		return config, nil
	}
	if _, err := readPool(l.TLS.CA); err != nil {
		return nil, err
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	each := config.Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c := each.Clone()
		var err error
		c.ClientCAs, err = readPool(l.TLS.CA)
		return c, err
	}
	return config, nil
}

// followUsers reloads the users of the server when their file changes: removed users are
// disconnected. An invalid file changes nothing.
func (b *Bus) followUsers() {
	for wait.SleepFor(b.ctx, b.config.tuning.watch) == nil {
		if err := b.embedded.reloadUsers(); err != nil {
			b.config.Log.Error("invalid file of users of the NATS listener: the last valid users remain", "error", err)
		}
	}
}

// reloadUsers reloads once for each content of the file.
func (e *embedded) reloadUsers() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	raw, err := os.ReadFile(e.config.Listen.Users)
	if err != nil || e.server == nil || sha256.Sum256(raw) == e.users {
		return nil //nolint:nilerr // a file that is being replaced exists at the next check
	}
	options, err := e.serverOptions()
	if err != nil {
		return err
	}
	if err := e.server.ReloadOptions(options); err != nil {
		return fmt.Errorf("reload users of the NATS listener: %w", err)
	}
	e.log.Info("reloaded users of the NATS listener", "file", e.config.Listen.Users)
	return nil
}

// parseUsers reads "ROLE NKEY" and "ROLE NAME PASSWORD" lines. Errors contain no passwords.
func parseUsers(text, cluster string) (users []*server.User, keys []*server.NkeyUser, err error) {
	var seen []string
	for number, scanner := 1, bufio.NewScanner(strings.NewReader(text)); scanner.Scan(); number++ {
		fields := strings.Fields(scanner.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		bad := func(text string) error { return fmt.Errorf("line %d: %s", number, text) }
		if !slices.Contains(allRoles(), fields[0]) {
			return nil, nil, hint.AddTo(bad(fmt.Sprintf("unknown role %q", fields[0])), "roles are %s", strings.Join(allRoles(), ", "))
		}
		may := permissionsOf(fields[0], cluster)
		switch {
		case len(fields) == 2 && nkeys.IsValidPublicUserKey(fields[1]):
			keys = append(keys, &server.NkeyUser{Nkey: fields[1], Permissions: may})
		case len(fields) == 3 && fields[1] != internalUser:
			users = append(users, &server.User{Username: fields[1], Password: fields[2], Permissions: may})
		default:
			return nil, nil, bad("neither \"ROLE NKEY\" (the public one, it begins with U) nor \"ROLE NAME PASSWORD\"")
		}
		if slices.Contains(seen, fields[1]) {
			return nil, nil, bad(fmt.Sprintf("user %q is listed twice", fields[1]))
		}
		seen = append(seen, fields[1])
	}
	if len(seen) == 0 {
		return nil, nil, hint.AddTo(errors.New("no user in it"), "a line such as \"viewer NAME PASSWORD\"")
	}
	return users, keys, nil
}
