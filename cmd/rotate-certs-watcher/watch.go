package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/rotate-certs/rotate-certs/pkg/logging"
	"github.com/rotate-certs/rotate-certs/pkg/version"
	"github.com/rotate-certs/rotate-certs/watcher"
	"github.com/rotate-certs/rotate-certs/watcher/bus"
)

// watchFlags are the flags of the watcher.
type watchFlags struct {
	watcher.Options
	kubeconfig, pullSecret, logFormat, logLevel string
	listen                                      bus.Listen
}

// addTo declares the flags.
func (f *watchFlags) addTo(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "how to reach the cluster (default: the ServiceAccount of the pod)")
	flags.BoolVar(&f.NotifyOnly, "notify-only", false, "tell, and rotate nothing")
	flags.StringVar(&f.Cluster, "cluster", "", "the cluster's name in events (default: the uid of its namespace kube-system)")
	flags.StringVar(&f.Pods.Namespace, "namespace", "rotate-certs", "where node pods run, and the Lease by which watchers elect their leader is")
	flags.StringVar(&f.Pods.Image, "image", version.NodeImage(), "image of the pods that work on nodes")
	flags.StringVar(&f.pullSecret, "image-pull-secret", "", "Secret in the namespace to pull the image with")
	flags.BoolVar(&f.LeaderElection, "leader-elect", true, "let one watcher of several do the work")
	flags.StringVar(&f.HTTPAddress, "http-address", ":8080", `where to serve /livez, /readyz and /events ("": nowhere)`)
	flags.StringVar(&f.MetricsAddress, "metrics-address", "", `where to serve /metrics by HTTPS, to those whose bearer token may get it, e.g. ":8443" (default: at --http-address, to everyone)`)
	flags.StringVar(&f.Dashboard.Address, "dashboard-address", "", `where to serve the dashboard, e.g. ":8444" (default: not served)`)
	flags.StringVar(&f.Dashboard.Cert, "dashboard-cert", "", "the dashboard's certificate (PEM), read again when it has changed (default: without TLS)")
	flags.StringVar(&f.Dashboard.Key, "dashboard-key", "", "its key (PEM)")
	flags.StringSliceVar(&f.Dashboard.Hosts, "dashboard-host", nil, "names by which browsers reach the dashboard (default: any)")
	flags.StringSliceVar(&f.Dashboard.Proxies, "dashboard-proxy", nil, "common names of client certificates whose holders, authenticating proxies, name the user in X-Remote-User, X-Remote-Group and X-Remote-Extra-*")
	flags.StringVar(&f.Dashboard.ProxyCA, "dashboard-proxy-ca", "", "CA of these certificates (PEM)")
	flags.BoolVar(&f.CertificateMetrics, "certificate-metrics", true, "show metrics of each certificate and node (x509_*): three for each certificate in the cluster")
	flags.StringVar(&f.Bus.StoreDir, "store", "/var/lib/rotate-certs-watcher", "where the embedded NATS server keeps its events")
	flags.StringSliceVar(&f.Bus.URLs, "nats-url", nil, "NATS servers, separated by commas (default: one that is embedded)")
	flags.IntVar(&f.Bus.Replicas, "nats-replicas", 0, "how many servers of a NATS cluster keep each stream (default: one, or what there is)")
	flags.StringVar(&f.Bus.Domain, "nats-domain", "", "the JetStream domain to use, where it is not the servers' own (leaf nodes)")
	flags.StringVar(&f.Bus.TLS.CA, "nats-ca", "", "CA of the NATS servers (PEM)")
	flags.StringVar(&f.Bus.TLS.Cert, "nats-cert", "", "client certificate for NATS (PEM), read again at every connect")
	flags.StringVar(&f.Bus.TLS.Key, "nats-key", "", "its key (PEM)")
	flags.StringVar(&f.Bus.Credentials, "nats-creds", "", "credentials or NKey seed file of the user who reports")
	flags.StringVar(&f.Bus.RotatorCredentials, "nats-rotator-creds", "", "the same of the user who rotates (default: the one who reports)")
	flags.BoolVar(&f.Bus.ShareSummary, "share-summary", false, "write a summary of the cluster to NATS for other clusters that share it, and show theirs in the dashboard")
	flags.StringVar(&f.Bus.FleetCredentials, "nats-fleet-creds", "", "the same of the user who reads the summaries of all clusters (default: the one who reports)")
	flags.StringVar(&f.listen.Address, "nats-listen", "", `open the embedded server to others at this address, e.g. ":4222" (default: not opened)`)
	flags.StringVar(&f.listen.TLS.Cert, "nats-listen-cert", "", "the listener's certificate (PEM)")
	flags.StringVar(&f.listen.TLS.Key, "nats-listen-key", "", "its key (PEM)")
	flags.StringVar(&f.listen.TLS.CA, "nats-listen-ca", "", "clients of the listener must show a certificate by this CA (PEM)")
	flags.StringVar(&f.listen.Users, "nats-listen-users", "", "file with the listener's users: a role and an NKey, or a role, a name and a password, a line")
	flags.StringVar(&f.logFormat, "log-format", "text", "text or json")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
}

// complete turns the flags into what the watcher takes.
func (f *watchFlags) complete(stderr io.Writer) error {
	var err error
	if f.Log, err = logging.New(stderr, f.logFormat, f.logLevel); err != nil {
		return err
	}
	if f.Config, err = watcher.Connect(f.kubeconfig); err != nil {
		return err
	}
	if f.pullSecret != "" {
		f.Pods.ImagePullSecrets = []string{f.pullSecret}
	}
	if f.listen.Address != "" {
		f.Bus.Listen = &f.listen
	}
	if len(f.Bus.URLs) > 0 {
		f.Bus.StoreDir = ""
	}
	return nil
}
