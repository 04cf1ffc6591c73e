package watcher

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// checkFiles refuses settings that contradict each other.
func (o DashboardOptions) checkFiles() error {
	switch {
	case (o.Cert == "") != (o.Key == ""):
		return errors.New("serve the dashboard: a certificate and its key are needed, or neither")
	case len(o.Proxies) > 0 && (o.Cert == "" || o.ProxyCA == ""):
		return hint.AddTo(errors.New("serve the dashboard: a proxy is known by its certificate, which needs TLS and the CA of the proxy"),
			"--dashboard-cert, --dashboard-key and --dashboard-proxy-ca")
	}
	return nil
}

// dashboardTLS is how the dashboard serves TLS, from files that may be replaced.
type dashboardTLS struct {
	config *tls.Config        // nil: without TLS
	parts  []manager.Runnable // they read the files again
}

func (o DashboardOptions) openTLS(log *slog.Logger) (dashboardTLS, error) {
	if o.Cert == "" {
		return dashboardTLS{}, nil
	}
	pair, err := certwatcher.New(o.Cert, o.Key)
	if err != nil {
		return dashboardTLS{}, fmt.Errorf("serve the dashboard: read certificate %q and its key: %w", o.Cert, err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: pair.GetCertificate}
	out := dashboardTLS{config: config, parts: []manager.Runnable{pair}}
	if len(o.Proxies) == 0 {
		return out, nil
	}
	ca := &proxyCA{path: o.ProxyCA, log: log}
	if err := ca.readFile(); err != nil {
		return dashboardTLS{}, err
	}
	config.ClientAuth = tls.VerifyClientCertIfGiven
	config.SessionTicketsDisabled = true // a resumed session would be trusted by the CA of its first connection
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		current := config.Clone()
		current.ClientCAs = ca.pool.Load()
		return current, nil
	}
	out.parts = append(out.parts, ca)
	return out, nil
}

// proxyCA is the file with the CAs that sign the certificates of proxies.
type proxyCA struct {
	path string
	log  *slog.Logger
	pool atomic.Pointer[x509.CertPool] // of the last content that holds certificates
}

// Start reads the file again and again until ctx ends, as often as certwatcher reads its files.
func (c *proxyCA) Start(ctx context.Context) error {
	for wait.SleepFor(ctx, 10*time.Second) == nil {
		if err := c.readFile(); err != nil {
			c.log.Error("the proxy is trusted by the CA that was read before", "error", err)
		}
	}
	return nil
}

// NeedLeaderElection does not restrict it to the leader.
func (*proxyCA) NeedLeaderElection() bool { return false }

func (c *proxyCA) readFile() error {
	text, err := os.ReadFile(c.path)
	if err != nil {
		return fmt.Errorf("read the CA of the dashboard's proxy: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return fmt.Errorf("read the CA of the dashboard's proxy: %q holds no certificate", c.path)
	}
	c.pool.Store(pool)
	return nil
}
