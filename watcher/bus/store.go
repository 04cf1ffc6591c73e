package bus

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// life is how long one store is used: sequences of one mean nothing in the next.
type life struct {
	mu  sync.Mutex
	ctx context.Context //nolint:containedctx // it is the life itself
	end context.CancelFunc
}

// begin ends the old life.
func (l *life) begin(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.end != nil {
		l.end()
	}
	l.ctx, l.end = context.WithCancel(ctx)
}

func (l *life) context() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ctx
}

// watchStore replaces a store that vanishes while it is used.
func (b *Bus) watchStore() {
	for pause(b.ctx, b.config.tuning.watch) {
		if b.ready.err() != nil {
			continue // the streams need not be there yet
		}
		for _, s := range streams(b.config.Cluster, 1) {
			if err := b.embedded.gone(s.Name); err != nil {
				b.renewStore(err)
				break
			}
		}
	}
}

// storeFailed hears of failed publishes: an embedded server that refuses to write several
// times in a row gets a new store.
func (b *Bus) storeFailed(err error, times int) {
	api, ok := errors.AsType[*jetstream.APIError](err)
	if b.embedded != nil && ok && api.Code == 503 && times%10 == 3 && b.ready.err() == nil {
		b.renewStore(&damageError{"it cannot be written: " + strings.Join(strings.Fields(api.Error()), " ")})
	}
}

func (b *Bus) renewStore(why error) {
	e := b.embedded
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended {
		return
	}
	b.counters.setAside.Add(1)
	b.ready.set(why)
	err := e.replace(why)
	b.store.begin(b.ctx)
	if err != nil {
		e.why.Store(&err)
		e.log.Error("the embedded NATS server does not start again, trying on", "error", err)
		b.tasks.Go(b.restartServer)
		return
	}
	b.ready.lookAgain()
}

// restartServer tries until there is a server again.
func (b *Bus) restartServer() {
	for pause(b.ctx, b.config.tuning.watch) {
		if b.embedded.restart() == nil {
			b.ready.lookAgain()
			return
		}
	}
}
