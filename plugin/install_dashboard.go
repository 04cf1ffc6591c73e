package plugin

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/plugin/manifests"
)

// dashboardVolume is the volume of the watcher's pod with the dashboard's certificate.
const dashboardVolume = "dashboard"

// hostedDashboard are the flags of the dashboard that the watcher serves.
type hostedDashboard struct {
	on        bool
	tlsSecret string
	hosts     []string
	proxies   []string
}

func (d *hostedDashboard) addFlags(f *pflag.FlagSet) {
	f.BoolVar(&d.on, "dashboard", false, "Serve the dashboard from the watcher, for users without kubectl: docs/dashboard.md")
	f.StringVar(&d.tlsSecret, "dashboard-tls-secret", "", "Secret with tls.crt and tls.key for the dashboard; without it, put an ingress with TLS before its Service")
	f.StringSliceVar(&d.hosts, "dashboard-host", nil, "Name by which browsers reach the dashboard; others are refused (default: any)")
	f.StringSliceVar(&d.proxies, "dashboard-proxy", nil, "Common name of an authenticating proxy's certificate, signed by ca.crt of --dashboard-tls-secret: it names the user in X-Remote-User and X-Remote-Group")
}

var (
	hostName   = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?(:[0-9]+)?$`)
	commonName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9 ._:@-]*$`)
)

// checkFlags refuses invalid names.
func (d *hostedDashboard) checkFlags() error {
	if d.tlsSecret != "" && !validName(d.tlsSecret) {
		return fmt.Errorf("--dashboard-tls-secret %q is not a valid name of an object", d.tlsSecret)
	}
	for _, name := range d.hosts {
		if !hostName.MatchString(name) {
			return fmt.Errorf("--dashboard-host %q: want a name such as certs.example.org", name)
		}
	}
	for _, name := range d.proxies {
		if !commonName.MatchString(name) {
			return fmt.Errorf("--dashboard-proxy %q: want the common name of a certificate", name)
		}
	}
	return nil
}

// given reports whether a flag says more than that there is no dashboard.
func (d *hostedDashboard) given() bool {
	return d.on || d.tlsSecret != "" || len(d.hosts)+len(d.proxies) > 0
}

// fitSettings drops the settings of a dashboard that is not served, and refuses such flags.
func (d *hostedDashboard) fitSettings(s *manifests.Settings) error {
	switch {
	case s.WithoutWatcher && d.given():
		return hint.AddTo(errors.New("--without-watcher installs no watcher to serve the dashboard"), "give the dashboard's flags to rotate-certs-watcher")
	case !s.WithoutWatcher && !s.Dashboard && d.given():
		return errors.New("--dashboard-tls-secret, --dashboard-host and --dashboard-proxy need --dashboard")
	case s.WithoutWatcher || !s.Dashboard:
		s.Dashboard = false
		s.DashboardTLSSecret = ""
		s.DashboardHosts = nil
		s.DashboardProxies = nil
	case len(s.DashboardProxies) > 0 && s.DashboardTLSSecret == "":
		return errors.New("--dashboard-proxy needs --dashboard-tls-secret: a proxy is known by its certificate")
	}
	return nil
}

// checkDashboardSecret refuses a Secret without the files that the watcher would be started with.
func (i *installer) checkDashboardSecret(ctx context.Context) error {
	name := i.settings.DashboardTLSSecret
	if name == "" {
		return nil
	}
	secret, err := i.api.client.CoreV1().Secrets(i.targetNamespace()).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsForbidden(err) {
		return nil // the kubelets may still be allowed to read it
	}
	if err != nil {
		return i.missingSecret(ctx, name, "tls "+name+" --cert=FILE --key=FILE", err)
	}
	needed := []string{"tls.crt", "tls.key"}
	if len(i.settings.DashboardProxies) > 0 {
		needed = append(needed, "ca.crt")
	}
	for _, key := range needed {
		if _, has := secret.Data[key]; !has {
			return fmt.Errorf("Secret %q has no %s, which the dashboard needs", name, key) //nolint:staticcheck // a kind's name
		}
	}
	return nil
}

// dashboardAddress says how to reach the dashboard; empty: it is not served.
func (i *installer) dashboardAddress() string {
	if !i.settings.Dashboard {
		return ""
	}
	scheme := "http"
	port := "80"
	if i.settings.DashboardTLSSecret != "" {
		scheme = "https"
		port = "443"
	}
	return fmt.Sprintf("Dashboard: kubectl -n %s port-forward service/%s 8444:%s, then %s://localhost:8444; sign in with a token for the audience rotate-certs, see docs/dashboard.md",
		i.targetNamespace(), manifests.Dashboard, port, scheme)
}
