package scan

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// askInMemory requests the certificates that components hold only in memory from their
// endpoints, all at the same time. It sends those of the endpoints that answered; the others
// are skipped.
func askInMemory(ctx context.Context, endpoints []inventory.InMemory, opts Options) <-chan []inventory.InMemory {
	out := make(chan []inventory.InMemory, 1)
	if opts.HandshakeInMemory == nil {
		endpoints = nil
	}
	found := slices.Clone(endpoints)
	go func() {
		ctx, cancel := context.WithTimeout(ctx, askLimit)
		defer cancel()
		var all sync.WaitGroup
		for i := range found {
			all.Go(func() { askOne(ctx, &found[i], opts) })
		}
		all.Wait()
		out <- slices.DeleteFunc(found, func(m inventory.InMemory) bool { return m.FingerprintSHA256 == "" })
	}()
	return out
}

func askOne(ctx context.Context, m *inventory.InMemory, opts Options) {
	leaf, err := opts.HandshakeInMemory(ctx, m.Address, m.ServerName)
	if err != nil || m.ServerName != "" && !slices.Contains(leaf.DNSNames, m.ServerName) {
		return // the server has no certificate of that name, so this is its default one
	}
	m.Facts = certs.DescribeCertificate(leaf)
	m.Status, m.Reason = m.ValidityStatus(opts.Now(), opts.Within)
}

// inMemoryFindings reports the certificates in memory that expire soon.
func inMemoryFindings(found []inventory.InMemory) (out []inventory.Finding) {
	for _, m := range found {
		verb := map[certs.Status]string{certs.Expiring: "expires", certs.Expired: "expired"}[m.Status]
		if verb == "" {
			continue
		}
		out = append(out, inventory.Finding{Kind: inventory.Memory, Service: m.Service, Path: m.Address, Text: fmt.Sprintf(
			"%s %s %s; %s made it in memory at its start, and only a restart renews it", m.Name, verb, m.NotAfter.Format(time.RFC3339), m.Service)})
	}
	return out
}
