package bus

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// listen opens the embedded server to users over TLS.
func (e *embedded) listen(o *server.Options) error {
	l := e.config.Listen
	host, port, err := net.SplitHostPort(l.Address)
	if err == nil {
		o.Port, err = strconv.Atoi(port)
	}
	if err != nil {
		return fmt.Errorf("listen for NATS on %q: %w\nhint: --nats-listen HOST:PORT", l.Address, err)
	}
	if o.Host = host; host == "" {
		o.Host = "0.0.0.0"
	}
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
	if _, err := tls.LoadX509KeyPair(l.TLS.Cert, l.TLS.Key); err != nil {
		return fmt.Errorf("read certificate %q of the NATS listener: %w", l.TLS.Cert, err)
	}
	o.DontListen, o.TLS, o.TLSTimeout = false, true, 5
	if o.TLSConfig, err = l.tls(); err != nil {
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

// tls reads the files again for every handshake.
func (l *Listen) tls() (*tls.Config, error) {
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

// followUsers gives the server its users again when their file changes: who is no user any
// more is disconnected. A file that became wrong changes nothing.
func (b *Bus) followUsers() {
	for pause(b.ctx, b.config.tuning.watch) {
		if err := b.embedded.reloadUsers(); err != nil {
			b.config.Log.Error("users of the NATS listener are wrong, the last good ones stay in force", "error", err)
		}
	}
}

// reloadUsers does it once for each content of the file.
func (e *embedded) reloadUsers() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	raw, err := os.ReadFile(e.config.Listen.Users)
	if err != nil || e.server == nil || sha256.Sum256(raw) == e.users {
		return nil //nolint:nilerr // a file that is being replaced is there the next time
	}
	options, err := e.options()
	if err != nil {
		return err
	}
	if err := e.server.ReloadOptions(options); err != nil {
		return fmt.Errorf("reload users of the NATS listener: %w", err)
	}
	e.log.Info("users of the NATS listener read again", "file", e.config.Listen.Users)
	return nil
}

// parseUsers reads "ROLE NKEY" and "ROLE NAME PASSWORD" lines. Passwords are in no error.
func parseUsers(text, cluster string) (users []*server.User, keys []*server.NkeyUser, err error) {
	var seen []string
	for number, scanner := 1, bufio.NewScanner(strings.NewReader(text)); scanner.Scan(); number++ {
		fields := strings.Fields(scanner.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		bad := func(what string) error { return fmt.Errorf("line %d: %s", number, what) }
		if !slices.Contains(roles(), fields[0]) {
			return nil, nil, bad(fmt.Sprintf("unknown role %q\nroles: %s", fields[0], strings.Join(roles(), ", ")))
		}
		may := permissions(fields[0], cluster)
		switch {
		case len(fields) == 2 && nkeys.IsValidPublicUserKey(fields[1]):
			keys = append(keys, &server.NkeyUser{Nkey: fields[1], Permissions: may})
		case len(fields) == 3 && fields[1] != internalUser:
			users = append(users, &server.User{Username: fields[1], Password: fields[2], Permissions: may})
		default:
			return nil, nil, bad("neither \"ROLE NKEY\" (the public one, it begins with U) nor \"ROLE NAME PASSWORD\"")
		}
		if slices.Contains(seen, fields[1]) {
			return nil, nil, bad(fmt.Sprintf("user %q is there twice", fields[1]))
		}
		seen = append(seen, fields[1])
	}
	if len(seen) == 0 {
		return nil, nil, fmt.Errorf("it has no user\nhint: a line such as \"viewer NAME PASSWORD\"")
	}
	return users, keys, nil
}
