package watcher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
)

// endTimeout is how long those who read may take when the watcher ends; who follows events
// would keep it for ever.
const endTimeout = time.Second

// server serves metrics, health and events. It is up before anything of the cluster is
// read: a slow API server must not look like a watcher that hangs.
func (w *watcher) server(ctx context.Context) (*manager.Server, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", w.HTTPAddress)
	if err != nil {
		return nil, fmt.Errorf("serve metrics, health and events: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", w.metrics.Handler(ctrlmetrics.Registry))
	mux.Handle("/events", w.bus.Handler())
	mux.HandleFunc("GET /livez", health(func(context.Context) error { return errors.Join(w.decider.Alive(), w.runner.Alive()) }))
	mux.HandleFunc("GET /readyz", health(w.ready))
	w.Log.Info("serving metrics, health and events", "address", listener.Addr().String())
	timeout := endTimeout
	return &manager.Server{Name: "http", Listener: listener, ShutdownTimeout: &timeout, Server: &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx },
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
