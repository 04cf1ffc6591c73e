package bus

import (
	"bufio"
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
	o.TLSConfig = &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(l.TLS.Cert, l.TLS.Key)
			return &pair, err
		},
	}
	if l.TLS.CA != "" {
		if o.TLSConfig.ClientCAs, err = readPool(l.TLS.CA); err != nil {
			return err
		}
		o.TLSConfig.ClientAuth, o.TLSVerify = tls.RequireAndVerifyClientCert, true
	}
	raw, err := os.ReadFile(l.Users)
	if err != nil {
		return fmt.Errorf("read users of the NATS listener: %w", err)
	}
	if o.Users, o.Nkeys, err = parseUsers(string(raw), e.config.Cluster); err != nil {
		return fmt.Errorf("read users of the NATS listener from %q: %w", l.Users, err)
	}
	o.Users = append(o.Users, &server.User{Username: internalUser, Password: e.password})
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
