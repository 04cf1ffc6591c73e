package watcher

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/rotate-certs/rotate-certs/watcher/metrics"
)

// endTimeout is how long those who read may take when the watcher ends; who follows events
// would keep it for ever.
const endTimeout = time.Second

// servers serve metrics, health and events. They are up before anything of the cluster is
// read: a slow API server must not look like a watcher that hangs.
func (w *watcher) servers(ctx context.Context, config *rest.Config) ([]manager.Runnable, error) {
	var servers []manager.Runnable
	if w.HTTPAddress != "" {
		server, err := w.serve(ctx, "http", w.HTTPAddress, nil, w.open())
		if err != nil {
			return nil, err
		}
		servers = append(servers, server)
	}
	if w.MetricsAddress != "" {
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			return nil, fmt.Errorf("authorize readers of metrics: %w", err)
		}
		certificate := &selfSigned{now: time.Now}
		server, err := w.serve(ctx, "metrics", w.MetricsAddress, certificate.config(), w.protected(client))
		if err != nil {
			return nil, err
		}
		servers = append(servers, server)
	}
	return servers, nil
}

// open is what everyone may read who reaches the port.
func (w *watcher) open() http.Handler {
	mux := http.NewServeMux()
	if w.MetricsAddress == "" {
		mux.Handle("GET /metrics", w.metrics.Handler(ctrlmetrics.Registry))
	}
	mux.Handle("/events", w.bus.Handler())
	mux.HandleFunc("GET /livez", health(func(context.Context) error { return errors.Join(w.decider.Alive(), w.runner.Alive()) }))
	mux.HandleFunc("GET /readyz", health(w.ready))
	return mux
}

// protected is what those may read whom the API server permits it.
func (w *watcher) protected(client kubernetes.Interface) http.Handler {
	mux := http.NewServeMux()
	readers := &metrics.Readers{Client: client, Log: w.Log.With("part", "metrics"), Now: time.Now}
	mux.Handle("GET /metrics", readers.Only(w.metrics.Handler(ctrlmetrics.Registry)))
	return mux
}

// serve listens at an address, with TLS where a configuration is given.
func (w *watcher) serve(ctx context.Context, name, address string, secured *tls.Config, handler http.Handler) (*manager.Server, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("serve %s: %w", name, err)
	}
	w.Log.Info("serving", "name", name, "address", listener.Addr().String(), "tls", secured != nil)
	if secured != nil {
		listener = tls.NewListener(listener, secured)
	}
	timeout := endTimeout
	return &manager.Server{Name: name, Listener: listener, ShutdownTimeout: &timeout, Server: &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx },
	}}, nil
}

// health answers whether something is in order.
func health(check func(context.Context) error) http.HandlerFunc {
	return func(to http.ResponseWriter, r *http.Request) {
		if err := check(r.Context()); err != nil {
			http.Error(to, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(to, "ok\n")
	}
}

// ready says what keeps the watcher from its work.
func (w *watcher) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if !w.complete(ctx) {
		return errors.New("the cluster's objects are not all read yet")
	}
	if err := w.bus.Ready(); err != nil {
		return fmt.Errorf("events: %w", err)
	}
	return w.policy.problem()
}
