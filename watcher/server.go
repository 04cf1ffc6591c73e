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

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/watcher/metrics"
)

// newServers serve metrics, health and events. They listen before anything of the cluster is
// read: a slow API server must not make the watcher look stuck.
func (w *watcher) newServers(ctx context.Context, config *rest.Config) ([]manager.Runnable, error) {
	var servers []manager.Runnable
	if w.HTTPAddress != "" {
		server, err := w.listenOn(ctx, "http", w.HTTPAddress, nil, handlerOnly(w.publicHandler()))
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
		server, err := w.listenOn(ctx, "metrics", w.MetricsAddress, certificate.tlsConfig(), handlerOnly(w.protectedHandler(client)))
		if err != nil {
			return nil, err
		}
		servers = append(servers, server)
	}
	return servers, nil
}

// publicHandler serves without authentication.
func (w *watcher) publicHandler() http.Handler {
	mux := http.NewServeMux()
	if w.MetricsAddress == "" {
		mux.Handle("GET /metrics", w.metrics.Handler(ctrlmetrics.Registry))
	}
	mux.Handle("/events", w.bus.EventsHandler())
	mux.HandleFunc("GET /livez", healthHandler(func(context.Context) error { return errors.Join(w.decider.CheckAlive(), w.runner.CheckAlive()) }))
	mux.HandleFunc("GET /readyz", healthHandler(w.checkReady))
	return mux
}

// protectedHandler serves users that the API server permits.
func (w *watcher) protectedHandler(client kubernetes.Interface) http.Handler {
	mux := http.NewServeMux()
	readers := &metrics.Readers{Client: client, Log: w.Log.With("part", "metrics"), Now: time.Now}
	mux.Handle("GET /metrics", readers.AuthorizedOnly(w.metrics.Handler(ctrlmetrics.Registry)))
	return mux
}

// handlerOnly is a server that limits only how long a request may take to begin.
func handlerOnly(handler http.Handler) *http.Server {
	return &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
}

// listenOn listens at an address, with TLS if a configuration is given.
func (w *watcher) listenOn(ctx context.Context, name, address string, secured *tls.Config, server *http.Server) (*manager.Server, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("serve %s: %w", name, err)
	}
	w.Log.Info("serving", "name", name, "address", listener.Addr().String(), "tls", secured != nil)
	if secured != nil {
		listener = tls.NewListener(listener, secured)
	}
	timeout := time.Second // for open requests; those that follow events have no end
	server.BaseContext = func(net.Listener) context.Context { return ctx }
	return &manager.Server{Name: name, Listener: listener, ShutdownTimeout: &timeout, Server: server}, nil
}

// healthHandler answers a health check.
func healthHandler(check func(context.Context) error) http.HandlerFunc {
	return func(to http.ResponseWriter, r *http.Request) {
		if err := check(r.Context()); err != nil {
			http.Error(to, hint.TextOf(err), http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(to, "ok\n")
	}
}

// checkReady returns why the watcher is not ready.
func (w *watcher) checkReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if !w.awaitComplete(ctx) {
		return errors.New("not all objects of the cluster are read yet")
	}
	if err := w.bus.Ready(); err != nil {
		return fmt.Errorf("events: %w", err)
	}
	return w.policy.validationError()
}
